package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	mutants = flag.Int("mutants", 0, "build each mutant of the code and play up to this many schedules; 0 is none")
	update  = flag.Bool("update", false, "write the table of mutants in docs/simulation.md anew")
)

// edit replaces a piece of a source file that stands there exactly once.
type edit struct{ file, old, new string }

// mutant is the code with one promise taken out.
type mutant struct {
	name  string
	what  string
	edits []edit
}

var mutantTable = []mutant{
	{"no-fence", "an agent that is cut off lets its work run on", []edit{
		{"agent/agent.go", "		err := a.Runtime.Fence(ctx)\n", "		err := error(nil)\n"},
		{"agent/response.go", "a.Runtime.Renew(left)", "a.Runtime.Renew(1000 * left)"},
	}},
	{"lease-not-checked", "a report is accepted from a session that has ended", []edit{
		{"store/session.go", "r.Lease != capacity.LeaseLive || r.Session != n.Session || r.Epoch != n.Epoch", "false"},
		{"store/sqlite/commit.go", "	if guard == nil {\n", "	if true {\n"},
	}},
	{"event-outside-the-write", "a change of intent is written without its event", []edit{
		{
			"store/sqlite/commit.go", "	if err := t.addEvent(&t.changes, string(j.ID), &c.Transition, c.event); err != nil {\n",
			"	if c.Transition.From == c.Transition.To {\n	} else if err := t.addEvent(&t.changes, string(j.ID), &c.Transition, c.event); err != nil {\n",
		},
	}},
	{"epoch-not-raised", "a new session keeps the epoch of the last one", []edit{
		{"store/session.go", "	r.Epoch++\n", "	r.Epoch = max(r.Epoch, 1)\n"},
	}},
	{"cancel-overwritten", "a job whose cancel is under way is queued again when its attempt is lost", []edit{
		{"job/transition.go", "	j.Logs = LogsLost\n	if j.Intent == Stop {\n", "	j.Logs = LogsLost\n	if false {\n"},
	}},
	{"unpaced-recovery", "all attempts of a lost region are given back at once", []edit{
		{"queue/rescuer.go", "min(int(r.pace.TokensAt(now)), rescuePage)", "rescuePage"},
	}},
	{"early-takeover", "a region is given up before its agent has stopped its work", []edit{
		{"queue/rescuer.go", "< r.q.Timing.Takeover {\n", "< r.q.Timing.Trust/3 {\n"},
	}},
	{"version-not-checked", "of two changes to one job the later one wins", []edit{
		{"store/sqlite/commit.go", "AND version = ? AND state = ? AND region = ? AND", "AND ? > 0 AND ? != '' AND ? IS NOT NULL AND"},
	}},
	{"claim-not-repeated", "an attempt is named in one answer only", []edit{
		{"queue/sync.go", "s.known[j.AttemptID()] || j.Intent != job.Run", "s.q.Clock.Since(j.ClaimedAt) > 0 || j.Intent != job.Run"},
	}},
	{"strangers-run-on", "an attempt that the queue has given up is not stopped when its region returns", []edit{
		{"queue/report.go", "	if s.strangers[id] {\n", "	if true {\n"},
	}},
	{"missing-not-noticed", "an attempt that its region has forgotten counts as running", []edit{
		{"queue/report.go", "held[id] || j.State == job.Claimed", "held[id] || true"},
	}},
	{"return-not-told", "an agent that could not reach its cluster does not report again what runs there", []edit{
		{"agent/request.go", "		clear(a.reported)\n", ""},
	}},
	{"key-ignored", "a submission that is sent again makes another job", []edit{
		{"queue/submit.go", "	if from.Key != \"\" {\n", "	if false {\n"},
	}},
}

// TestMutants shows that the simulation bites: each mutant must break a
// promise within the given number of schedules.
func TestMutants(t *testing.T) {
	if *mutants == 0 {
		t.Log("not asked for: -mutants N")
		return
	}
	var rows []string
	for _, m := range mutantTable {
		t.Run(m.name, func(t *testing.T) {
			schedules, promise := m.play(t)
			rows = append(rows, fmt.Sprintf("| %#q | %s | %d | %s |", m.name, m.what, schedules, promise))
		})
	}
	if *update && !t.Failed() {
		writeMutantRows(t, rows)
	}
}

var caught = regexp.MustCompile(`seed (\d+), after [^:]*: (.*)`)

// play builds the mutant's own test binary through an overlay, so that no
// file of the tree changes, and returns the schedule that caught it.
func (m mutant) play(t *testing.T) (schedule int, promise string) {
	t.Helper()
	dir := t.TempDir()
	replace := map[string]string{}
	for i, e := range m.edits {
		original, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(e.file)))
		if err != nil {
			t.Fatal(err)
		}
		source := original
		if earlier, ok := replace[original]; ok {
			source = earlier
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), e.old); n != 1 {
			t.Fatalf("%s has %d times what the mutant replaces, want once:\n%s", e.file, n, e.old)
		}
		mutated := filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(mutated, []byte(strings.Replace(string(text), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[original] = mutated
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-overlay", overlayFile, ".",
		"-run", "^TestSchedules$", "-schedules", strconv.Itoa(*mutants))
	output, err := command.CombinedOutput()
	if _, failed := errors.AsType[*exec.ExitError](err); !failed {
		t.Fatalf("%d schedules did not notice that %s (%v)\n%s", *mutants, m.what, err, output)
	}
	found := caught.FindSubmatch(output)
	if found == nil {
		t.Fatalf("the mutant failed without breaking a promise:\n%s", output)
	}
	schedule, err = strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	promise, _, _ = strings.Cut(string(bytes.TrimSpace(found[2])), "; ")
	promise, _, _ = strings.Cut(promise, ": {")
	return schedule, promise
}

func writeMutantRows(t *testing.T, rows []string) {
	t.Helper()
	const file, begin, end = "../../docs/simulation.md", "<!-- mutants -->\n", "<!-- end of mutants -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(text), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no marks around its table of mutants", file)
	}
	table := "| mutant | what it breaks | caught in schedule | by |\n|---|---|---|---|\n" + strings.Join(rows, "\n") + "\n"
	if err := os.WriteFile(file, []byte(head+begin+table+end+tail), 0o600); err != nil {
		t.Fatal(err)
	}
}
