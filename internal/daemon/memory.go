package daemon

import (
	"os"
	"runtime/debug"
)

// gcPercent is how much garbage may pile up beside what is live, in percent of
// it. The live heap of a control plane is some ten megabytes, since the
// database's cache is not on it, so Go's 100 has the collector at work all the
// time: an eighth of the processor time of a submission.
const gcPercent = 300

// relaxCollector sets it, unless the operator has an opinion (GOGC).
func relaxCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
