package job

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/states.md anew from the table")

//go:generate go test -run TestStatesDocAgrees -update .

const statesDoc = "../../docs/states.md"

const statesIntro = `# The states of a job

<!-- Written by go generate ./internal/job from job.Table; a test compares. -->

A job is in exactly one state. Only the events below move it, and only along these lines;
everything else is refused. ` + "`job.Table`" + ` holds the rules, ` + "`job.Job.Apply`" + ` is the only code that acts on them.
`

const statesOutro = `
Where one event has several outcomes, this decides:

- **failed** of an active job: queued again after a pause (5 s, doubling to 5 min) while its failures are at most
  its retries; else failed. Before a claim: failed, since the job can never run or is past its deadline.
- **lost**: by the job's onRegionLost. Queued again, or failed for ` + "`fail`" + ` and after waiting too long with ` + "`wait`" + `.
- **stopped**: cancelled for a cancel, failed for a deadline, queued for a move.
- **released, lost, moved**: queued again up to %d, %d and %d times, from the second time on after a pause (1 s,
  doubling to 10 s); once more fails the job and says so.
- While a cancel or a deadline is under way, failed, released and lost are its end too. A success stands.

The events **%s** keep the state.
They change what is asked of the attempt (its intent: run, move or stop), or note that its region is gone
for now. A cancel is never taken back by a move or a deadline.
`

func TestStatesDocAgrees(t *testing.T) {
	want := renderStates()
	if *update {
		if err := os.WriteFile(statesDoc, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(statesDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from job.Table: run go generate ./internal/job", statesDoc)
	}
}

func renderStates() []byte {
	var doc bytes.Buffer
	doc.WriteString(statesIntro)
	doc.WriteString("\n```mermaid\nstateDiagram-v2\n    [*] --> queued: submitted\n")
	for _, from := range States {
		for _, to := range States {
			if events := eventsBetween(from, to); len(events) > 0 {
				fmt.Fprintf(&doc, "    %s --> %s: %s\n", from, to, strings.Join(events, ", "))
			}
		}
		if from.Terminal() {
			fmt.Fprintf(&doc, "    %s --> [*]\n", from)
		}
	}
	doc.WriteString("```\n\n")
	writeStatesTable(&doc)
	fmt.Fprintf(&doc, statesOutro, MaxReleases, MaxLosses, MaxMoves, strings.Join(keepingEvents(), "**, **"))
	return doc.Bytes()
}

// eventsBetween lists what leads from one state to the other, but for events
// that keep the state.
func eventsBetween(from, to State) []string {
	var events []string
	for _, rule := range Table {
		if !keeps(rule) && slices.Contains(rule.From, from) && slices.Contains(rule.To, to) {
			events = append(events, string(rule.Event))
		}
	}
	return events
}

func keeps(rule Rule) bool { return slices.Equal(rule.From, rule.To) }

func keepingEvents() []string {
	var events []string
	for _, rule := range Table {
		if keeps(rule) {
			events = append(events, string(rule.Event))
		}
	}
	return events
}

func writeStatesTable(doc *bytes.Buffer) {
	var kinds []EventKind
	for _, rule := range Table {
		if !keeps(rule) && !slices.Contains(kinds, rule.Event) {
			kinds = append(kinds, rule.Event)
		}
	}
	doc.WriteString("| from \\ event |")
	for _, kind := range kinds {
		fmt.Fprintf(doc, " %s |", kind)
	}
	doc.WriteString("\n|---|" + strings.Repeat("---|", len(kinds)) + "\n")
	for _, from := range States {
		fmt.Fprintf(doc, "| %s |", from)
		for _, kind := range kinds {
			var targets []string
			for _, rule := range Table {
				if rule.Event == kind && slices.Contains(rule.From, from) {
					for _, to := range rule.Targets(from) {
						targets = append(targets, string(to))
					}
				}
			}
			fmt.Fprintf(doc, " %s |", strings.Join(targets, ", "))
		}
		doc.WriteString("\n")
	}
}
