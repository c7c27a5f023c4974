package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/aws/recovery"
	"github.com/gco-project/gco/internal/backup"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/server"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// firstCopy is how long a start waits until the vault has all there is.
// Longer, and serving comes first: what is written meanwhile is as safe as the
// disk.
const firstCopy = 30 * time.Second

// copies is what backs the database up.
type copies struct {
	vault       *backup.Vault
	keeper      keeper
	replication *backup.Replication
}

// keeper keeps backups of the embedded database, or of the tables of DynamoDB.
type keeper interface {
	server.Backups
	Run(ctx context.Context) error
	Close() error
}

// replicated tells whether every change is copied. Then somebody else than the
// store looks after its log.
func replicated(b config.Backups) bool { return b.Vault != "" && b.Continuous }

// openCopies opens the vault, makes the first copy and the keeper of backups.
func (c *ControlPlane) openCopies(ctx context.Context, o ControlPlaneOptions, embedded *sqlite.Store) (err error) {
	b := o.Config.Backups
	location := b.Vault
	if location == "" {
		location = filepath.Join(o.Dir, "backups")
	}
	if c.copies.vault, err = backup.OpenVault(ctx, location); err != nil {
		return err
	}
	if err := c.copies.vault.Check(ctx); err != nil {
		return err
	}
	if replicated(b) {
		incarnation, err := c.store.Incarnation(ctx)
		if err != nil {
			return err
		}
		c.copies.replication, err = backup.StartReplication(ctx, backup.ReplicationOptions{
			Database: filepath.Join(o.Dir, backup.DatabaseFile), Incarnation: incarnation, Vault: c.copies.vault,
			EverySecond: b.EverySecond, Keep: b.Keep, Clock: o.Clock, Log: o.Log,
		}, firstCopy)
		if err != nil {
			return err
		}
	}
	kept, err := backup.NewKeeper(backup.KeeperOptions{
		Source: embedded, Vault: c.copies.vault, Scratch: filepath.Join(o.Dir, "backup.tmp"), Rules: rules(b),
		Replication: c.copies.replication, Clock: o.Clock, Log: o.Log,
	})
	if err != nil {
		return err
	}
	c.copies.keeper = kept
	return nil
}

// rules are the schedule. A directory beside the database gets what is asked
// for, and nothing by itself: it would be lost with it.
func rules(b config.Backups) []backup.Rule {
	if b.Vault == "" {
		return nil
	}
	return []backup.Rule{
		{Kind: backup.Daily, At: timeOfDay(b.Daily.At), Keep: b.Daily.Keep},
		{Kind: backup.Weekly, At: timeOfDay(b.Weekly.At), Weekday: weekdays[b.Weekly.Day], Keep: b.Weekly.Keep},
	}
}

var weekdays = map[string]time.Weekday{
	"monday": time.Monday, "tuesday": time.Tuesday, "wednesday": time.Wednesday, "thursday": time.Thursday,
	"friday": time.Friday, "saturday": time.Saturday, "sunday": time.Sunday,
}

// timeOfDay reads what the configuration has validated.
func timeOfDay(text string) time.Duration {
	at, err := time.Parse("15:04", text)
	if err != nil {
		panic(fmt.Sprintf("daemon: %q is no time of day", text))
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
}

// run keeps the schedule.
func (c *copies) run(ctx context.Context, group *errgroup.Group) {
	if c.keeper != nil {
		group.Go(func() error { return c.keeper.Run(ctx) })
	}
}

// openRecovery drives what DynamoDB has for backups; a stand-in for it has
// nothing.
func (c *ControlPlane) openRecovery(ctx context.Context, o ControlPlaneOptions, tables dynamodb.Options) error {
	if tables.EndpointURL != "" {
		return nil
	}
	kept, err := recovery.NewKeeper(ctx, recovery.Options{
		Project: tables.Project, Names: tables.Names, Region: tables.Region, Clock: o.Clock, Log: o.Log,
	})
	if err != nil {
		return err
	}
	c.copies.keeper = kept
	return nil
}

// RestoreTables restores the tables of DynamoDB under the name of another
// project, and gives them a new incarnation.
func RestoreTables(ctx context.Context, o recovery.RestoreOptions) (backup.Restored, error) {
	o.Reincarnate = func(ctx context.Context, project string) (incarnation string, awaited []string, err error) {
		s, err := dynamodb.Open(ctx, dynamodb.Options{
			Project: project, Region: o.Region, EndpointURL: o.EndpointURL, Now: o.Clock.Now, Log: o.Log,
		})
		if err != nil {
			return "", nil, err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		if incarnation, err = s.Reincarnate(ctx, o.Clock.Now()); err != nil {
			return "", nil, err
		}
		awaited, err = backup.Awaited(ctx, s)
		return incarnation, awaited, err
	}
	return recovery.Restore(ctx, o)
}

// close makes the last copy, while the database is still open.
func (c *copies) close() error {
	var errs []error
	if c.keeper != nil {
		errs = append(errs, c.keeper.Close())
	}
	if c.replication != nil {
		errs = append(errs, c.replication.Close())
	}
	if c.vault != nil {
		errs = append(errs, c.vault.Close())
	}
	*c = copies{}
	return errors.Join(errs...)
}
