package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/backup"
)

// pruneEvery is the time between two looks at whose time is over.
const pruneEvery = time.Hour

// Keeper makes backups of the tables when somebody asks for them, and removes
// those whose time is over.
type Keeper struct {
	*service
	*backup.Turns
	background context.Context
	cancel     context.CancelFunc
	working    sync.WaitGroup
}

// NewKeeper returns a Keeper that can be asked at once.
func NewKeeper(ctx context.Context, o Options) (*Keeper, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	k := &Keeper{service: s, Turns: backup.NewTurns(o.Clock, o.Log)}
	k.background, k.cancel = context.WithCancel(context.Background())
	return k, nil
}

// Run removes backups whose time is over, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	ticker := k.Clock.NewTicker(pruneEvery)
	defer ticker.Stop()
	failing := false
	for {
		err := k.runOnce(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			k.Log.Error("looking for old backups of the tables; it is tried again every hour", "error", err)
		}
		failing = err != nil
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return k.Close()
		}
	}
}

// Close stops waiting for what is under way; DynamoDB goes on with it.
func (k *Keeper) Close() error {
	k.cancel()
	k.working.Wait()
	return nil
}

func (k *Keeper) runOnce(ctx context.Context) error {
	sets, err := k.sets(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for _, set := range sets {
		k.Remember([]backup.Backup{set.Backup})
		if set.ExpiresAt.IsZero() || k.Clock.Now().Before(set.ExpiresAt) {
			continue
		}
		for _, part := range set.parts {
			if _, err := k.DeleteBackup(ctx, &dynamodb.DeleteBackupInput{BackupArn: part.BackupArn}); err != nil && !isA[*types.BackupNotFoundException](err) {
				failed = append(failed, fmt.Errorf("removing %s of %s: %w", aws.ToString(part.BackupName), aws.ToString(part.TableName), err))
			}
		}
	}
	return errors.Join(failed...)
}

// set is the backups of all tables that were made together.
type set struct {
	backup.Backup
	parts []types.BackupSummary
}

// whole tells whether every table has its part.
func (s *set) whole(tables []table) bool {
	for _, t := range tables {
		if !slices.ContainsFunc(s.parts, func(p types.BackupSummary) bool {
			return aws.ToString(p.TableName) == t.full && p.BackupStatus == types.BackupStatusAvailable
		}) {
			return false
		}
	}
	return true
}

// sets lists what there is, newest first, whole or not.
func (s *service) sets(ctx context.Context) ([]*set, error) {
	byID := map[string]*set{}
	for _, t := range s.tables {
		input := &dynamodb.ListBackupsInput{TableName: &t.full, BackupType: types.BackupTypeFilterUser}
		for {
			page, err := s.ListBackups(ctx, input)
			if err != nil {
				return nil, fmt.Errorf("listing the backups of %s: %w", t.full, explain(err))
			}
			for _, part := range page.BackupSummaries {
				addPart(byID, part)
			}
			if input.ExclusiveStartBackupArn = page.LastEvaluatedBackupArn; input.ExclusiveStartBackupArn == nil {
				break
			}
		}
	}
	var all []*set
	for _, found := range byID {
		found.Incarnation = s.Project
		all = append(all, found)
	}
	slices.SortFunc(all, func(a, b *set) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
	return all, nil
}

func addPart(byID map[string]*set, part types.BackupSummary) {
	id, expires, ours := parseName(aws.ToString(part.BackupName))
	if !ours || part.BackupStatus == types.BackupStatusDeleted {
		return
	}
	made := aws.ToTime(part.BackupCreationDateTime).UTC()
	found := byID[id]
	if found == nil {
		found = &set{Backup: backup.Backup{ID: id, Kind: backup.Manual, CreatedAt: made, ExpiresAt: expires}}
		byID[id] = found
	}
	if made.Before(found.CreatedAt) {
		found.CreatedAt = made
	}
	found.Bytes += aws.ToInt64(part.BackupSizeBytes)
	found.StoredBytes = found.Bytes
	found.parts = append(found.parts, part)
}

// nameOf is how DynamoDB calls a backup: its ID, and when its time is over in
// Unix seconds; 0 is never.
func nameOf(id string, expires time.Time) string {
	if expires.IsZero() {
		return "gco." + id + ".0"
	}
	return fmt.Sprintf("gco.%s.%d", id, expires.Unix())
}

func parseName(name string) (id string, expires time.Time, ours bool) {
	parts := strings.Split(name, ".")
	if len(parts) != 3 || parts[0] != "gco" || parts[1] == "" {
		return "", time.Time{}, false
	}
	seconds, err := strconv.ParseInt(parts[2], 10, 64)
	if err != nil || seconds < 0 {
		return "", time.Time{}, false
	}
	if seconds > 0 {
		expires = time.Unix(seconds, 0).UTC()
	}
	return parts[1], expires, true
}

// List lists the whole backups, newest first.
func (k *Keeper) List(ctx context.Context) ([]backup.Backup, error) {
	sets, err := k.sets(ctx)
	var all []backup.Backup
	for _, s := range sets {
		if s.whole(k.tables) {
			all = append(all, s.Backup)
		}
	}
	return all, err
}

// Find returns one backup, or backup.ErrNotFound.
func (k *Keeper) Find(ctx context.Context, id string) (backup.Backup, error) {
	all, err := k.List(ctx)
	if err != nil {
		return backup.Backup{}, err
	}
	i := slices.IndexFunc(all, func(b backup.Backup) bool { return b.ID == id })
	if i < 0 {
		return backup.Backup{}, fmt.Errorf("%w as %s of %s", backup.ErrNotFound, id, k)
	}
	b := all[i]
	for _, a := range k.Activities() {
		if a.ID == id && a.Verifying && !a.EndedAt.IsZero() {
			b.Verification = verificationOf(a)
		}
	}
	return b, nil
}

func verificationOf(a backup.Activity) *backup.Verification {
	v := &backup.Verification{At: a.EndedAt}
	if a.Err != nil {
		v.Fault = a.Err.Error()
	}
	return v
}

// Windows lists the one time from which the tables can be restored.
func (k *Keeper) Windows(ctx context.Context) ([]backup.Window, error) {
	w, err := k.window(ctx)
	if err != nil || w.From.IsZero() {
		return nil, err
	}
	return []backup.Window{w}, nil
}

// Status is zero: DynamoDB looks after that by itself.
func (k *Keeper) Status() backup.Status { return backup.Status{} }

// StartCreate asks for a backup of every table, and returns while they are
// being made. Keep 0 is for ever.
func (k *Keeper) StartCreate(keep time.Duration) (backup.Activity, error) {
	activity, done, err := k.Take(backup.Activity{ID: backup.NewID(backup.Manual, k.Clock.Now()), Kind: backup.Manual})
	if err != nil {
		return backup.Activity{}, err
	}
	k.working.Go(func() { done(k.make(k.background, activity, keep)) })
	return activity, nil
}

func (k *Keeper) make(ctx context.Context, a backup.Activity, keep time.Duration) error {
	var expires time.Time
	if keep > 0 {
		expires = a.BegunAt.Add(keep)
	}
	name := nameOf(a.ID, expires)
	for _, t := range k.tables {
		if _, err := k.CreateBackup(ctx, &dynamodb.CreateBackupInput{TableName: &t.full, BackupName: &name}); err != nil {
			return fmt.Errorf("backing up the table %s: %w", t.full, explain(err))
		}
	}
	return k.until(ctx, func() (bool, error) {
		_, err := k.Find(ctx, a.ID)
		if errors.Is(err, backup.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
}

// StartVerify begins to ask whether the backup of every table is there and can
// be restored. What is in it can only be seen by a restore, which costs what
// the tables cost.
func (k *Keeper) StartVerify(ctx context.Context, id string) (backup.Activity, error) {
	if _, err := k.Find(ctx, id); err != nil {
		return backup.Activity{}, err
	}
	activity, done, err := k.Take(backup.Activity{ID: id, Kind: backup.Manual, Verifying: true})
	if err != nil {
		return backup.Activity{}, err
	}
	k.working.Go(func() { done(k.Verify(k.background, id)) })
	return activity, nil
}

// Verify asks whether every part of a backup is there and can be restored; a
// part that is not is backup.ErrDamaged.
func (k *Keeper) Verify(ctx context.Context, id string) error {
	found, err := k.setOf(ctx, id)
	if err != nil {
		return err
	}
	for _, part := range found.parts {
		answer, err := k.DescribeBackup(ctx, &dynamodb.DescribeBackupInput{BackupArn: part.BackupArn})
		if isA[*types.BackupNotFoundException](err) {
			return fmt.Errorf("%w: its part of %s is gone", backup.ErrDamaged, aws.ToString(part.TableName))
		}
		if err != nil {
			return fmt.Errorf("asking for the backup of %s: %w", aws.ToString(part.TableName), err)
		}
		if d := answer.BackupDescription; d == nil || d.BackupDetails == nil || d.BackupDetails.BackupStatus != types.BackupStatusAvailable {
			return fmt.Errorf("%w: its part of %s is not available", backup.ErrDamaged, aws.ToString(part.TableName))
		}
	}
	return nil
}

// setOf finds a whole backup with its parts.
func (s *service) setOf(ctx context.Context, id string) (*set, error) {
	sets, err := s.sets(ctx)
	if err != nil {
		return nil, err
	}
	for _, found := range sets {
		if found.ID != id {
			continue
		}
		if !found.whole(s.tables) {
			return nil, fmt.Errorf("%w: %s has not a part of every table", backup.ErrDamaged, id)
		}
		return found, nil
	}
	return nil, fmt.Errorf("%w as %s of %s", backup.ErrNotFound, id, s)
}
