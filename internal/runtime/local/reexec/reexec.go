// Package reexec makes the program that imports it a supervisor of
// runtime/local where it is called as one, before the rest of the program is
// initialised: a supervisor is started for each attempt, and what all the
// other packages set up in their init functions costs more than its own work
// (docs/decisions/runtime-reexec.md). Package cli imports it for its effect.
//
// It relies on Go's order of initialisation: a package is initialised as soon
// as what it imports is. So neither it nor what it imports may import anything
// of GCO outside runtime/local, or a library beyond golang.org/x/sys; a test
// looks.
package reexec

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/gco-project/gco/internal/runtime/local/supervise"
)

// Command is the first argument of a supervisor's command line; the second,
// and last, is the attempt's directory.
const Command = "supervise"

func init() { //nolint:gochecknoinits // what this package is for
	if len(os.Args) != 3 || os.Args[1] != Command || strings.HasPrefix(os.Args[2], "-") {
		return
	}
	if err := supervise.Run(context.Background(), os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "%s %s: %v\n", os.Args[0], Command, err)
		os.Exit(1) //nolint:forbidigo // there is no main to return to
	}
	os.Exit(0) //nolint:forbidigo // there is no main to return to
}
