package sqlite

import "strings"

// bulkSteps are the numbers of rows that one statement inserts, the largest
// first.
var bulkSteps = []int{16, 4, 1}

// parameters is a row of parameters, one a column.
func parameters(columns string) string {
	return "(?" + strings.Repeat(", ?", strings.Count(columns, ",")) + ")"
}

// insertText is an INSERT of so many rows of one form.
func insertText(table, columns, row string, rows int) string {
	return "INSERT INTO " + table + " (" + columns + ") VALUES " + row + strings.Repeat(", "+row, rows-1)
}

// bulkTable is a table that takes rows in bulk: nothing in the transaction
// reads them back, and none can conflict.
type bulkTable struct {
	width   int
	inserts []stmt
}

func bulkInsert(table, columns, row string) bulkTable {
	b := bulkTable{width: strings.Count(row, "?")}
	for _, rows := range bulkSteps {
		b.inserts = append(b.inserts, statement(insertText(table, columns, row, rows)))
	}
	return b
}

// bulk collects rows until there are enough for the largest statement.
type bulk struct {
	bulkTable
	args []any
}

// add takes one row.
func (b *bulk) add(s *session, row ...any) error {
	b.args = append(b.args, row...)
	if len(b.args) < b.width*bulkSteps[0] {
		return nil
	}
	return b.flush(s)
}

// flush writes the rows that were collected.
func (b *bulk) flush(s *session) error {
	args := b.args
	for i, rows := range bulkSteps {
		for n := rows * b.width; len(args) >= n; args = args[n:] {
			if _, err := s.exec(b.inserts[i], args[:n]...); err != nil {
				return err
			}
		}
	}
	b.args = b.args[:0]
	return nil
}
