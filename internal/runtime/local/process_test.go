package local

import (
	"slices"
	"strconv"
	"testing"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// processes returns the processes of an attempt, by what their environment
// says.
func processes(t *testing.T, id job.AttemptID) []process.Entry {
	t.Helper()
	table, err := process.Table()
	if err != nil {
		t.Fatal(err)
	}
	var found []process.Entry
	for _, entry := range table {
		environment := process.Environment(entry.PID)
		if !entry.Zombie && slices.Contains(environment, "GCO_JOB_ID="+string(id.Job)) &&
			slices.Contains(environment, "GCO_ATTEMPT="+strconv.Itoa(id.Attempt)) {
			found = append(found, entry)
		}
	}
	return found
}

// leaders returns the first processes of the containers that run.
func leaders(t *testing.T, id job.AttemptID) []process.Entry {
	t.Helper()
	return slices.DeleteFunc(processes(t, id), func(e process.Entry) bool { return e.Session != e.PID })
}
