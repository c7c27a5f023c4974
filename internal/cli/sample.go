package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/sample"
)

type sampleOptions struct {
	*Program
	kind  string
	port  int
	pause time.Duration
}

// newSample runs what the examples of endpoints name, so that they need nothing
// but this program.
func newSample(p *Program, run func(context.Context, *sampleOptions) error) *cobra.Command {
	opts := &sampleOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "sample linear|openai",
		Short:   "Serve a small model, to try endpoints with",
		Example: "  gco sample linear --port 8080\n  gco sample openai --port 8080 --pause 200ms",
		Hidden:  true,
		Args:    one("linear|openai"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.kind = args[0]
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().IntVar(&opts.port, "port", 8080, "listen on this `PORT` of loopback")
	cmd.Flags().DurationVar(&opts.pause, "pause", 50*time.Millisecond, "`PAUSE` between two words of a streamed answer")
	return cmd
}

func runSample(ctx context.Context, opts *sampleOptions) error {
	server := &sample.Server{Kind: opts.kind, Name: sample.Replica(), Pause: opts.pause, After: opts.Clock.After}
	return server.Run(ctx, fmt.Sprintf("127.0.0.1:%d", opts.port))
}
