package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type backupListOptions struct {
	*Program
	output format
	vault  string
}

func newBackupList(p *Program, run func(context.Context, *backupListOptions) error) *cobra.Command {
	opts := &backupListOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List backups, and the times that can be restored",
		Long: `List shows the backups of the running server, newest first, and the times to any
second of which the data can be restored. With --vault it looks into the vault
itself, as one has to when the server is gone.`,
		Example: "  gco backup list\n  gco backup list --vault 's3://copies/gco?region=us-east-2'",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	cmd.Flags().StringVar(&opts.vault, "vault", "", "look into the vault at this `URL` or directory, or at the backups of tables (dynamodb://PROJECT?region=REGION), without a server")
	addOutput(cmd, &opts.output)
	return cmd
}

func runBackupList(ctx context.Context, opts *backupListOptions) error {
	list, err := opts.list(ctx)
	if err != nil {
		return fmt.Errorf("listing backups: %w", err)
	}
	if err := printList(opts.Program, opts.output, backupView(opts.Program), list.Items, list); err != nil {
		return err
	}
	if opts.output != "" || !opts.Terminal {
		return nil
	}
	return opts.windows(list)
}

// windows says what else can be restored.
func (o *backupListOptions) windows(list api.BackupList) error {
	if len(list.Windows) > 0 {
		fmt.Fprintf(o.Out, "\nTimes that can be restored, in %s:\n", list.Vault)
		t := table{indent: "  ", rows: [][]string{{"FROM", "ANY SECOND FROM", "TO", "INCARNATION"}}}
		for _, w := range list.Windows {
			t.rows = append(t.rows, []string{stamp(&w.From), stamp(&w.SecondsFrom), stamp(&w.To), w.Incarnation})
		}
		if err := o.table(t); err != nil {
			return err
		}
	}
	if list.Message != "" {
		fmt.Fprintf(o.Out, "\nCopying changes fails: %s\n", list.Message)
	}
	return nil
}

func (o *backupListOptions) list(ctx context.Context) (api.BackupList, error) {
	if o.vault == "" {
		c, err := o.connect()
		if err != nil {
			return api.BackupList{}, err
		}
		return c.Backups(ctx)
	}
	vault, err := o.openVault(ctx, o.vault)
	if err != nil {
		return api.BackupList{}, err
	}
	list := api.BackupList{Vault: vault.String(), Items: []api.Backup{}, Windows: []api.BackupWindow{}}
	all, err := vault.List(ctx)
	for _, b := range all {
		list.Items = append(list.Items, b.OnWire())
	}
	windows, windowsErr := vault.Windows(ctx)
	for _, w := range windows {
		list.Windows = append(list.Windows, api.BackupWindow(w))
	}
	return list, errors.Join(err, windowsErr, vault.Close())
}
