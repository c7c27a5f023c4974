package recovery

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/backup"
	store "github.com/gco-project/gco/internal/store/dynamodb"
)

// RestoreOptions say what to restore, and as what.
type RestoreOptions struct {
	Options
	// To is the project that the new tables belong to.
	To string
	// Backup is the ID of one; without it point-in-time recovery is used.
	Backup string
	// At is the second to go back to; zero is the last there is.
	At time.Time
	// Say is told of each step.
	Say func(step string)
	// Reincarnate makes the restored data a history of their own.
	Reincarnate func(ctx context.Context, project string) (incarnation string, awaited []string, err error)
}

// Restore makes a new set of tables from a backup, or as they all were at one
// second, and gives them a new incarnation. Nothing of the old ones changes.
// The table that holds the incarnation comes last, when the others are whole:
// without it no server opens the tables.
func Restore(ctx context.Context, o RestoreOptions) (backup.Restored, error) {
	s, err := connect(ctx, o.Options)
	if err != nil {
		return backup.Restored{}, err
	}
	r := &restore{service: s, RestoreOptions: o, to: tablesOf(o.To, nil)}
	restored := backup.Restored{Dir: o.To, Source: o.Project}
	if o.Backup != "" {
		restored.Source = o.Backup
		restored.At, err = r.useBackup(ctx)
	} else {
		restored.At, err = r.useTime(ctx)
	}
	if err == nil {
		err = r.mustBeFree(ctx)
	}
	if err == nil {
		err = r.tablesInOrder(ctx)
	}
	if err == nil {
		o.Say("giving the data a new incarnation")
		restored.Incarnation, restored.Awaited, err = o.Reincarnate(ctx, o.To)
	}
	return restored, err
}

// restore is one run of Restore.
type restore struct {
	*service
	RestoreOptions
	to []table
	// begin starts to restore one table.
	begin func(ctx context.Context, from, to table) error
}

func (r *restore) useBackup(ctx context.Context) (time.Time, error) {
	found, err := r.setOf(ctx, r.Backup)
	if err != nil {
		return time.Time{}, err
	}
	r.begin = func(ctx context.Context, from, to table) error {
		for _, part := range found.parts {
			if aws.ToString(part.TableName) == from.full {
				_, err := r.RestoreTableFromBackup(ctx, &dynamodb.RestoreTableFromBackupInput{BackupArn: part.BackupArn, TargetTableName: &to.full})
				return err
			}
		}
		return backup.ErrDamaged
	}
	return found.CreatedAt, nil
}

// useTime takes one time for all tables, also for the last there is: each by
// itself would come from another.
func (r *restore) useTime(ctx context.Context) (time.Time, error) {
	w, err := r.window(ctx)
	if err != nil {
		return time.Time{}, err
	}
	if w.From.IsZero() {
		return time.Time{}, fmt.Errorf("%w: point-in-time recovery is off for a table of %s; take a backup", backup.ErrNotFound, r.service)
	}
	at := r.At.UTC().Truncate(time.Second)
	if r.At.IsZero() {
		at = w.To.UTC().Truncate(time.Second)
	}
	if at.Before(w.From) || at.After(w.To) {
		return time.Time{}, fmt.Errorf("%w: %s can be restored to times from %s to %s", backup.ErrNotFound, r.service, w.From.UTC().Format(time.RFC3339), w.To.UTC().Format(time.RFC3339))
	}
	r.begin = func(ctx context.Context, from, to table) error {
		_, err := r.RestoreTableToPointInTime(ctx, &dynamodb.RestoreTableToPointInTimeInput{
			SourceTableName: &from.full, TargetTableName: &to.full, RestoreDateTime: &at,
		})
		return err
	}
	return at, nil
}

// mustBeFree refuses names that are taken, before anything is made.
func (r *restore) mustBeFree(ctx context.Context) error {
	for _, t := range r.to {
		_, err := r.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.full})
		switch {
		case isA[*types.ResourceNotFoundException](err):
		case err != nil:
			return fmt.Errorf("looking for the table %s: %w", t.full, err)
		default:
			return fmt.Errorf("%w: there is a table %s; restore as another project, or delete what an interrupted restore left", backup.ErrOccupied, t.full)
		}
	}
	return nil
}

func (r *restore) tablesInOrder(ctx context.Context) error {
	var first, last []int
	for i, t := range r.to {
		if t.Name == store.TableState {
			last = append(last, i)
		} else {
			first = append(first, i)
		}
	}
	if err := r.some(ctx, first); err != nil {
		return err
	}
	return r.some(ctx, last)
}

// some restores tables side by side, waits for them, and turns on again what a
// restore leaves off.
func (r *restore) some(ctx context.Context, which []int) error {
	for _, i := range which {
		r.Say("restoring " + r.tables[i].full + " as " + r.to[i].full)
		if err := r.begin(ctx, r.tables[i], r.to[i]); err != nil {
			return fmt.Errorf("restoring %s as %s: %w", r.tables[i].full, r.to[i].full, explain(err))
		}
	}
	for _, i := range which {
		if err := r.until(ctx, func() (bool, error) { return r.active(ctx, r.to[i]) }); err != nil {
			return fmt.Errorf("waiting for %s: %w", r.to[i].full, err)
		}
		if err := r.settings(ctx, r.to[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *restore) active(ctx context.Context, t table) (bool, error) {
	answer, err := r.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &t.full})
	if err != nil {
		return false, err
	}
	return answer.Table != nil && answer.Table.TableStatus == types.TableStatusActive, nil
}

// settings are those that DynamoDB does not restore: the end of items' lives,
// and point-in-time recovery itself.
func (r *restore) settings(ctx context.Context, t table) error {
	_, err := r.UpdateContinuousBackups(ctx, &dynamodb.UpdateContinuousBackupsInput{
		TableName:                        &t.full,
		PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
	})
	if err == nil && t.TTL != "" {
		_, err = r.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName:               &t.full,
			TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &t.TTL, Enabled: aws.Bool(true)},
		})
	}
	if err != nil {
		return fmt.Errorf("turning on what a restore of %s leaves off: %w", t.full, err)
	}
	return nil
}
