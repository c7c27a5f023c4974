package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func newBackup(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "backup",
		Aliases: []string{"backups"},
		Short:   "Copy the embedded database, and bring it back",
		Example: "  gco backup list\n  gco backup create\n  gco backup restore --vault file:///mnt/backup --to /var/lib/gco-restored",
	}
	cmd.AddCommand(
		newBackupList(p, runBackupList),
		newBackupCreate(p, runBackupCreate),
		newBackupVerify(p, runBackupVerify),
		newBackupRestore(p, runBackupRestore),
	)
	return cmd
}

// backupView is how backups look in a list.
func backupView(p *Program) view[api.Backup] {
	return view[api.Backup]{
		name: func(b api.Backup) string { return b.ID },
		columns: []column[api.Backup]{
			{header: "ID", cell: func(b api.Backup) string { return b.ID }},
			{header: "STATE", cell: func(b api.Backup) string { return b.State }},
			{
				header: "CREATED",
				cell:   func(b api.Backup) string { return stamp(&b.CreatedAt) },
				shown:  func(b api.Backup) string { return age(p.Clock, b.CreatedAt) + " ago" },
			},
			{
				header: "JOBS",
				cell:   func(b api.Backup) string { return countOf(b, "jobs") },
				shown:  func(b api.Backup) string { return dash(countOf(b, "jobs")) },
			},
			{
				header: "SIZE",
				cell:   func(b api.Backup) string { return strconv.FormatInt(b.Bytes, 10) },
				shown:  func(b api.Backup) string { return bytesOf(b.Bytes) },
			},
			{header: "VERIFIED", cell: verificationOf, shown: func(b api.Backup) string { return dash(verificationOf(b)) }},
			{
				header: "EXPIRES",
				cell:   func(b api.Backup) string { return stamp(b.ExpiresAt) },
				shown: func(b api.Backup) string {
					if b.ExpiresAt == nil {
						return "never"
					}
					return p.when(b.ExpiresAt)
				},
			},
		},
	}
}

func countOf(b api.Backup, kind string) string {
	n, known := b.Contents[kind]
	if !known {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func verificationOf(b api.Backup) string {
	if b.Verification == nil {
		return ""
	}
	return b.Verification.State
}

// backupPage is one backup for a person.
func (p *Program) backupPage(b api.Backup) error {
	var contents []string
	for _, kind := range []string{"jobs", "events", "keys", "regions", "tokens"} {
		if n, known := b.Contents[kind]; known {
			contents = append(contents, fmt.Sprintf("%d %s", n, kind))
		}
	}
	fields := []field{
		{"ID", b.ID},
		{"State", b.State},
		{"Message", b.Message},
		{"Created", stamp(&b.CreatedAt)},
		{"Expires", stamp(b.ExpiresAt)},
		{"Size", fmt.Sprintf("%s, %s in the vault", bytesOf(b.Bytes), bytesOf(b.StoredBytes))},
		{"Contents", strings.Join(contents, ", ")},
		{"SHA-256", b.SHA256},
		{"Incarnation", b.Incarnation},
	}
	if v := b.Verification; v != nil {
		fields = append(fields, field{"Verified", strings.TrimSpace(v.State + " at " + stamp(&v.At) + " " + v.Message)})
	}
	return p.fields(fields)
}

// backupFailed says that a backup is not what it should be.
type backupFailed struct{ id, what string }

func (e *backupFailed) Error() string { return fmt.Sprintf("backup %s: %s", e.id, e.what) }

// lookAtBackup is the pause between two looks at a backup that is worked on.
const lookAtBackup = 200 * time.Millisecond

// awaitBackup asks for a backup until it is done.
func (p *Program) awaitBackup(ctx context.Context, c *client.Client, id string, done func(api.Backup) bool) (api.Backup, error) {
	ticker := p.Clock.NewTicker(lookAtBackup)
	defer ticker.Stop()
	for {
		b, err := c.Backup(ctx, id)
		if err != nil || done(b) {
			return b, err
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
}
