package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"k8s.io/utils/clock"
	"sigs.k8s.io/yaml"
)

// Formats of -o. The empty one is a table.
const (
	formatJSON = "json"
	formatYAML = "yaml"
	formatName = "name"
)

var formats = []string{formatJSON, formatYAML, formatName}

// format is the value of -o.
type format string

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "json|yaml|name" }

func (f *format) Set(text string) error {
	if !slices.Contains(formats, text) {
		return fmt.Errorf("%q is not one of %s", text, strings.Join(formats, ", "))
	}
	*f = format(text)
	return nil
}

// addOutput gives a command the flag -o.
func addOutput(cmd *cobra.Command, f *format) {
	cmd.Flags().VarP(f, "output", "o", "print `json|yaml|name` instead of a table")
	complete(cmd, "output", formats...)
}

// column is one column of a table.
type column[T any] struct {
	header string
	// cell is what a pipe gets: a value that a program can read.
	cell func(T) string
	// shown is what a person gets instead, where that differs.
	shown func(T) string
	// wide columns are cut on a terminal when the line would be too long.
	wide bool
}

// view is how a kind of record is printed in every format.
type view[T any] struct {
	name    func(T) string
	columns []column[T]
}

// printList writes records; whole is what JSON and YAML show, which is the
// answer of the server as it came.
func printList[T any](p *Program, f format, v view[T], items []T, whole any) error {
	if f == formatName {
		for _, item := range items {
			if _, err := fmt.Fprintln(p.Out, v.name(item)); err != nil {
				return err
			}
		}
		return nil
	}
	if f != "" {
		return printValue(p.Out, f, whole)
	}
	return p.table(v.rows(items, p.Terminal))
}

// printOne writes one record, as JSON, YAML or its name, or by page.
func printOne[T any](p *Program, f format, item T, name string, page func() error) error {
	switch f {
	case "":
		return page()
	case formatName:
		_, err := fmt.Fprintln(p.Out, name)
		return err
	default:
		return printValue(p.Out, f, item)
	}
}

func printValue(out io.Writer, f format, value any) error {
	text, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing JSON: %w", err)
	}
	text = append(text, '\n')
	if f == formatYAML {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return fmt.Errorf("writing YAML: %w", err)
		}
	}
	_, err = out.Write(text)
	return err
}

// rows are the cells of a table, its header first.
func (v view[T]) rows(items []T, shown bool) table {
	t := table{}
	header := make([]string, len(v.columns))
	for i, c := range v.columns {
		header[i] = c.header
		if c.wide {
			t.wide = i + 1
		}
	}
	t.rows = append(t.rows, header)
	for _, item := range items {
		row := make([]string, len(v.columns))
		for i, c := range v.columns {
			if shown && c.shown != nil {
				row[i] = c.shown(item)
			} else {
				row[i] = c.cell(item)
			}
		}
		t.rows = append(t.rows, row)
	}
	return t
}

// table is rows of cells, the header first unless it is headless. wide is the
// number of the column, from 1, that gives way when a terminal is too narrow.
type table struct {
	rows     [][]string
	wide     int
	indent   string
	headless bool
}

// table writes aligned columns to a terminal and tab-separated ones to a pipe.
func (p *Program) table(t table) error {
	var b strings.Builder
	if p.Terminal {
		t.align(&b, p.Width, p.color())
	} else {
		for _, row := range t.rows {
			for i, cell := range row {
				if i > 0 {
					b.WriteByte('\t')
				}
				b.WriteString(plain(cell))
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(p.Out, b.String())
	return err
}

const gap = "  "

func (t table) align(b *strings.Builder, width int, color bool) {
	if len(t.rows) == 0 {
		return
	}
	widths := t.widths(width)
	for n, row := range t.rows {
		b.WriteString(t.indent)
		for i, cell := range row {
			text := cut(plain(cell), widths[i])
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text))
			switch {
			case color && n == 0 && !t.headless:
				text = "\x1b[2m" + text + "\x1b[0m"
			case color:
				text = paint(text)
			}
			b.WriteString(text)
			if i < len(row)-1 {
				b.WriteString(padding + gap)
			}
		}
		b.WriteByte('\n')
	}
}

// widths are those of the widest cells, less what the wide column gives.
func (t table) widths(limit int) []int {
	widths := make([]int, len(t.rows[0]))
	total := len(t.indent) + len(gap)*(len(widths)-1)
	for i := range widths {
		for _, row := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(plain(row[i])))
		}
		total += widths[i]
	}
	if over := total - limit; over > 0 && t.wide > 0 {
		const least = 12
		i := t.wide - 1
		widths[i] = min(widths[i], max(least, widths[i]-over))
	}
	return widths
}

func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:width-1]) + "…"
}

// plain replaces what would break a column or drive a terminal: jobs and
// clusters write messages, and this is where they reach a person's screen.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text)
}

// color tells whether to paint: on a terminal, unless NO_COLOR is set.
func (p *Program) color() bool {
	off, _ := p.Lookup("NO_COLOR")
	return p.Terminal && off == ""
}

// paint colours words for states; every other text stays as it is.
func paint(text string) string {
	colors := map[string]string{
		"succeeded": "32", "running": "36", "pending": "36", "claimed": "36",
		"placed": "33", "queued": "33", "failed": "31", "cancelled": "35",
		"waiting": "33", "starting": "33", "skipped": "35", "submitted": "36", "refused": "31",
		"live": "32", "lost": "31", "ok": "32", "degraded": "33",
	}
	if code, ok := colors[text]; ok {
		return "\x1b[" + code + "m" + text + "\x1b[0m"
	}
	return text
}

// age says how long ago a time was, as a person would.
func age(c clock.PassiveClock, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(c.Since(t))
}

// span shows a duration with at most two units.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

// stamp is a time for a pipe; empty for none.
func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// dash stands for an empty cell on a terminal.
func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
