package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/runtime/local"
	_ "github.com/gco-project/gco/internal/runtime/local/reexec" // serves a real call, before main begins
)

// newSupervise is what the local runtime starts for each attempt. People have
// no use for it, so it is hidden, and it outlives a Ctrl-C. Package reexec is
// faster than this function can be; it leaves to it what is no real call.
func newSupervise() *cobra.Command {
	return &cobra.Command{
		Use:     "supervise DIR",
		Short:   "Run one attempt of a job as processes of this host",
		Example: "  gco supervise DIR",
		Args:    one("DIR"),
		Hidden:  true,
		RunE: func(_ *cobra.Command, args []string) error {
			return local.Supervise(context.Background(), args[0])
		},
	}
}
