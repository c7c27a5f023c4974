package sqlite

import "strings"

// bulkRows is how many rows one statement inserts at most. More saves little,
// and a batch seldom has more.
const bulkRows = 16

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
	width     int
	one, many stmt
}

func bulkInsert(table, columns, row string) bulkTable {
	return bulkTable{
		width: strings.Count(row, "?"),
		one:   statement(insertText(table, columns, row, 1)),
		many:  statement(insertText(table, columns, row, bulkRows)),
	}
}

// bulk collects rows until there are enough for one statement.
type bulk struct {
	bulkTable
	args []any
}

// add takes one row.
func (b *bulk) add(s *session, row ...any) error {
	b.args = append(b.args, row...)
	if len(b.args) < b.width*bulkRows {
		return nil
	}
	_, err := s.exec(b.many, b.args...)
	b.args = b.args[:0]
	return err
}

// flush writes the rows that are left.
func (b *bulk) flush(s *session) error {
	for begin := 0; begin < len(b.args); begin += b.width {
		if _, err := s.exec(b.one, b.args[begin:begin+b.width]...); err != nil {
			return err
		}
	}
	b.args = b.args[:0]
	return nil
}
