package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/backup"
)

type backupVerifyOptions struct {
	*Program
	output format
	vault  string
	id     string
}

func newBackupVerify(p *Program, run func(context.Context, *backupVerifyOptions) error) *cobra.Command {
	opts := &backupVerifyOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "verify ID",
		Short: "Restore a backup for a try, to see whether it is whole",
		Long: `Verify restores a backup into a directory that is thrown away, holds it against
its manifest, checks every page and counts anew what is counted. The running
server does that; with --vault this command does it itself. The vault remembers
what came of it. A backup that is damaged is an error.`,
		Example:           "  gco backup verify 20261122-030000-daily-3f09aa\n  gco backup verify --vault file:///mnt/backup 20261122-030000-daily-3f09aa",
		Args:              one("ID"),
		ValidArgsFunction: p.backupIDs(),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.id = args[0]
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().StringVar(&opts.vault, "vault", "", "look into the vault at this `URL` or directory, or at the backups of tables (dynamodb://PROJECT?region=REGION), without a server")
	addOutput(cmd, &opts.output)
	return cmd
}

func runBackupVerify(ctx context.Context, opts *backupVerifyOptions) error {
	verified, err := opts.verify(ctx)
	if err != nil {
		return fmt.Errorf("verifying backup %s: %w", opts.id, err)
	}
	err = printOne(opts.Program, opts.output, verified, verified.ID, func() error { return opts.backupPage(verified) })
	if v := verified.Verification; err == nil && v.State != "whole" {
		err = &backupFailed{verified.ID, v.State + ": " + v.Message}
	}
	return err
}

func (o *backupVerifyOptions) verify(ctx context.Context) (api.Backup, error) {
	if o.vault != "" {
		return o.verifyHere(ctx)
	}
	c, err := o.connect()
	if err != nil {
		return api.Backup{}, err
	}
	if _, err := c.VerifyBackup(ctx, o.id); err != nil {
		return api.Backup{}, err
	}
	return o.awaitBackup(ctx, c, o.id, func(b api.Backup) bool {
		return b.Verification != nil && b.Verification.State != "running"
	})
}

func (o *backupVerifyOptions) verifyHere(ctx context.Context) (verified api.Backup, err error) {
	vault, err := o.openVault(ctx, o.vault)
	if err != nil {
		return verified, err
	}
	defer func() { err = errors.Join(err, vault.Close()) }()
	b, err := vault.Find(ctx, o.id)
	if err != nil {
		return verified, err
	}
	result, err := vault.Verify(ctx, b)
	if errors.Is(err, backup.ErrDamaged) {
		err = nil
	}
	b.Verification = &result
	return b.OnWire(), err
}
