package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/aws/recovery"
	"github.com/gco-project/gco/internal/backup"
)

// vault is where backups are, as a command looks at it without a server.
type vault interface {
	String() string
	List(ctx context.Context) ([]backup.Backup, error)
	Find(ctx context.Context, id string) (backup.Backup, error)
	Windows(ctx context.Context) ([]backup.Window, error)
	Verify(ctx context.Context, b backup.Backup) (backup.Verification, error)
	Close() error
}

// openVault opens the vault of an embedded database, or the tables of a
// project.
func (p *Program) openVault(ctx context.Context, location string) (vault, error) {
	if recovery.IsURL(location) {
		o, err := p.tables(location)
		if err != nil {
			return nil, err
		}
		keeper, err := recovery.NewKeeper(ctx, o)
		return tablesVault{keeper, p.Clock}, err
	}
	opened, err := backup.OpenVault(ctx, location)
	return fileVault{opened, p.Clock}, err
}

// tables says which tables are meant.
func (p *Program) tables(location string) (recovery.Options, error) {
	o, err := recovery.ParseURL(location)
	o.Clock, o.Log = p.Clock, p.warnings()
	return o, err
}

// warnings logs on standard error what an operator has to know.
func (p *Program) warnings() *slog.Logger {
	return slog.New(slog.NewTextHandler(p.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// fileVault has copies of an embedded database.
type fileVault struct {
	*backup.Vault
	clock clock.PassiveClock
}

func (v fileVault) List(ctx context.Context) ([]backup.Backup, error) { return v.Backups(ctx) }

func (v fileVault) Find(ctx context.Context, id string) (backup.Backup, error) {
	return v.Backup(ctx, id)
}

func (v fileVault) Verify(ctx context.Context, b backup.Backup) (result backup.Verification, err error) {
	scratch, err := os.MkdirTemp("", "gco-verify-")
	if err != nil {
		return result, fmt.Errorf("making room: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	return backup.Verify(ctx, v.Vault, b, scratch, v.clock)
}

// tablesVault is DynamoDB's own store of backups.
type tablesVault struct {
	*recovery.Keeper
	clock clock.PassiveClock
}

func (v tablesVault) Verify(ctx context.Context, b backup.Backup) (backup.Verification, error) {
	err := v.Keeper.Verify(ctx, b.ID)
	result := backup.Verification{At: v.clock.Now().UTC()}
	if err != nil {
		result.Fault = err.Error()
	}
	return result, err
}
