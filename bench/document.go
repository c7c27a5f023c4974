package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// The lines between which document writes.
const (
	documentBegin = "<!-- figures: written by go run ./bench -doc -->"
	documentEnd   = "<!-- end of figures -->"
)

// document writes the promises and figures of a run into a Markdown document,
// between its two marks; an empty path does nothing. Only a run of all parts
// is worth keeping, so another one is an error.
func (r *report) document(path string, whole bool) error {
	if path == "" {
		return nil
	}
	if !whole {
		return fmt.Errorf("%s is not written: only all parts at full size make a whole set of figures", path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(text, []byte(documentBegin))
	_, after, ended := bytes.Cut(rest, []byte(documentEnd))
	if !found || !ended {
		return fmt.Errorf("%s has no place for figures: %s and %s are missing", path, documentBegin, documentEnd)
	}
	return os.WriteFile(path, fmt.Appendf(nil, "%s%s\n\n%s\n%s%s", before, documentBegin, r.markdown(), documentEnd, after), 0o600) //nolint:gosec // the file that the caller named
}

func (r *report) markdown() string {
	var out strings.Builder
	m := r.Machine
	fmt.Fprintf(&out, "%s, %d cores (%s), %s; load %s before the run, %s at its end.\n\n", m.At.Format("2006-01-02"), m.Cores, m.Processor, m.Go, m.Load, m.LoadAfter)
	fmt.Fprint(&out, "| part | promised | measured | bound | holds | made of |\n|---|---|---|---|---|---|\n")
	for _, p := range r.Promises {
		relation, holds := "at most", "yes"
		if p.AtLeast {
			relation = "at least"
		}
		if !p.Holds {
			holds = "**no**"
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s %s | %s | %s |\n", p.Part, p.Text, round(p.Value), relation, round(p.Bound), holds, p.Beside)
	}
	fmt.Fprint(&out, "\n| part | figure | value |\n|---|---|---|\n")
	for _, f := range r.Figures {
		fmt.Fprintf(&out, "| %s | %s | %s %s |\n", f.Part, f.Name, round(f.Value), f.Unit)
	}
	return out.String()
}
