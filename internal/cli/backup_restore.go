package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/aws/recovery"
	"github.com/gco-project/gco/internal/backup"
	"github.com/gco-project/gco/internal/daemon"
)

type backupRestoreOptions struct {
	*Program
	output     format
	vault      string
	to         string
	at         string
	moment     time.Time
	backup     string
	check      string
	renewAdmin bool
}

// checks are how closely a restored database can be looked at.
var checks = map[string]backup.Depth{"count": backup.Count, "pages": backup.Check, "all": backup.Recount}

func newBackupRestore(p *Program, run func(context.Context, *backupRestoreOptions) error) *cobra.Command {
	opts := &backupRestoreOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "restore --vault URL --to DIRECTORY",
		Short: "Make a new directory for a server from what a vault has",
		Long: `Restore makes a directory that gco server or gco up can be started with: the last
state there is, that of a chosen time, or a backup. It needs no server, and
touches neither a running one nor its directory. Stop the old server first: two
that take the same regions for theirs disturb each other.

The directory appears when it is whole. The data in it begin a history of their
own: until every region has sent what it holds, or is written off with gco
regions write-off, nothing starts anywhere. docs/backups.md leads through it.`,
		Example: `  gco backup restore --vault 's3://copies/gco?region=us-east-2' --to /var/lib/gco-restored
  gco backup restore --vault file:///mnt/backup --to ./restored --at 2026-11-22T14:03:20Z
  gco backup restore --vault file:///mnt/backup --to ./restored --at 10m    # as it was 10 minutes ago
  gco backup restore --vault file:///mnt/backup --to ./restored --backup 20261122-030000-daily-3f09aa`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := opts.validate(cmd); err != nil {
				return err
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.vault, "vault", "", "`URL` or directory of the vault, or dynamodb://PROJECT?region=REGION")
	flags.StringVar(&opts.to, "to", "", "`DIRECTORY` to make; it must not exist, or be empty. Of tables: the new project")
	flags.StringVar(&opts.at, "at", "", "`TIME` to go back to (RFC 3339), or how long ago; with changes that were copied")
	flags.StringVar(&opts.backup, "backup", "", "`ID` of a backup")
	flags.StringVar(&opts.check, "check", "count", "how closely to look at the result, `count|pages|all`: all takes longer than the restore")
	flags.BoolVar(&opts.renewAdmin, "renew-admin-token", false, "make a new admin token, for when the old one's secret is lost")
	complete(cmd, "check", "count", "pages", "all")
	addOutput(cmd, &opts.output)
	return cmd
}

func (o *backupRestoreOptions) validate(cmd *cobra.Command) error {
	switch _, known := checks[o.check]; {
	case o.vault == "" || o.to == "":
		return usagef(cmd, "--vault and --to are needed")
	case recovery.IsURL(o.vault) && o.renewAdmin:
		return usagef(cmd, "--renew-admin-token is for directories")
	case o.at != "" && o.backup != "":
		return usagef(cmd, "--at and --backup exclude each other")
	case !known:
		return usagef(cmd, "--check %s: one of count, pages, all expected", o.check)
	case o.at == "":
		return nil
	}
	if ago, err := time.ParseDuration(o.at); err == nil && ago >= 0 {
		o.moment = o.Clock.Now().Add(-ago)
		return nil
	}
	var err error
	if o.moment, err = time.Parse(time.RFC3339, o.at); err != nil {
		return usagef(cmd, "--at %q: a time such as 2026-11-22T14:03:20Z, or how long ago such as 10m, expected", o.at)
	}
	return nil
}

// restoredDirectory is what restore says it did.
type restoredDirectory struct {
	Directory string `json:"directory"`
	// Source is a backup's ID or the incarnation of a history.
	Source      string           `json:"source"`
	At          time.Time        `json:"at"`
	Incarnation string           `json:"incarnation"`
	Awaited     []string         `json:"awaited"`
	Contents    map[string]int64 `json:"contents"`
	AdminToken  string           `json:"adminTokenFile,omitempty"`
	Seconds     float64          `json:"seconds"`
}

func runBackupRestore(ctx context.Context, opts *backupRestoreOptions) error {
	begun := opts.Clock.Now()
	restored, err := opts.restore(ctx)
	if err != nil {
		return fmt.Errorf("restoring from %s: %w", opts.vault, err)
	}
	shown := restoredDirectory{
		Directory: restored.Dir, Source: restored.Source, At: restored.At, Incarnation: restored.Incarnation,
		Awaited: restored.Awaited, Contents: backup.Backup{Census: restored.Census}.Contents(),
	}
	if opts.renewAdmin {
		if shown.AdminToken, err = daemon.RenewAdminToken(ctx, restored.Dir, opts.Clock); err != nil {
			return fmt.Errorf("the data are restored in %s, but: %w", restored.Dir, err)
		}
	}
	shown.Seconds = opts.Clock.Since(begun).Seconds()
	return printOne(opts.Program, opts.output, shown, shown.Directory, func() error { return opts.page(shown) })
}

// restore makes a directory, or tables.
func (o *backupRestoreOptions) restore(ctx context.Context) (restored backup.Restored, err error) {
	say := func(step string) {
		fmt.Fprintf(o.Err, "%s: %s\n", o.Clock.Now().UTC().Format(time.TimeOnly), step)
	}
	if recovery.IsURL(o.vault) {
		tables, err := o.tables(o.vault)
		if err != nil {
			return restored, err
		}
		return daemon.RestoreTables(ctx, recovery.RestoreOptions{Options: tables, To: o.to, Backup: o.backup, At: o.moment, Say: say})
	}
	vault, err := backup.OpenVault(ctx, o.vault)
	if err != nil {
		return restored, err
	}
	defer func() { err = errors.Join(err, vault.Close()) }()
	return backup.Restore(ctx, backup.RestoreOptions{
		Vault: vault, Dir: o.to, Backup: o.backup, At: o.moment, Depth: checks[o.check], Clock: o.Clock, Log: o.warnings(), Say: say,
	})
}

// page says what was done, and what to do next.
func (o *backupRestoreOptions) page(r restoredDirectory) error {
	contents := ""
	if c := r.Contents; c != nil {
		contents = fmt.Sprintf("%d jobs, %d events, %d regions, %d tokens", c["jobs"], c["events"], c["regions"], c["tokens"])
	}
	made := "Directory"
	if recovery.IsURL(o.vault) {
		made = "Project"
	}
	err := o.fields([]field{
		{made, r.Directory},
		{"State of", r.At.UTC().Format(time.RFC3339Nano)},
		{"From", r.Source},
		{"Contents", contents},
		{"Incarnation", r.Incarnation + " (new)"},
		{"Awaited regions", cmp.Or(strings.Join(r.Awaited, ", "), "none")},
		{"Admin token", r.AdminToken},
		{"Took", span(time.Duration(r.Seconds * float64(time.Second)))},
	})
	if err != nil || !o.Terminal || recovery.IsURL(o.vault) {
		return err
	}
	_, err = fmt.Fprintf(o.Out, `
Next: start it with 'gco server --dir %s' in place of the old server. Agents
find it at the old address by themselves. A region that will not come back:
'gco regions write-off REGION'. Archived logs are not part of a backup: move
%s there if it still exists.
`, r.Directory, filepath.Join("OLD-DIRECTORY", "logs"))
	return err
}
