package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type backupCreateOptions struct {
	*Program
	output format
	keep   time.Duration
	set    bool
}

func newBackupCreate(p *Program, run func(context.Context, *backupCreateOptions) error) *cobra.Command {
	opts := &backupCreateOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a backup now",
		Long: `Create copies the whole database of the running server to its vault, and waits
until that is done. Work goes on meanwhile. Interrupting the command leaves the
server at it.`,
		Example: "  gco backup create\n  gco backup create --keep 0s -o name    # for ever",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.keep < 0 {
				return usagef(cmd, "--keep can't be negative")
			}
			opts.set = cmd.Flags().Changed("keep")
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().DurationVar(&opts.keep, "keep", 0, "remove it after this `DURATION`; 0s is never (default 840h)")
	addOutput(cmd, &opts.output)
	return cmd
}

func runBackupCreate(ctx context.Context, opts *backupCreateOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	var request api.NewBackup
	if opts.set {
		request.Keep = opts.keep.String()
	}
	begun, err := c.CreateBackup(ctx, request)
	if err != nil {
		return fmt.Errorf("creating a backup: %w", err)
	}
	fmt.Fprintf(opts.Err, "Making backup %s\n", begun.ID)
	made, err := opts.awaitBackup(ctx, c, begun.ID, func(b api.Backup) bool { return b.State != "making" })
	if err != nil {
		return fmt.Errorf("waiting for backup %s: %w", begun.ID, err)
	}
	if made.State == "failed" {
		return &backupFailed{made.ID, made.Message}
	}
	return printOne(opts.Program, opts.output, made, made.ID, func() error { return opts.backupPage(made) })
}
