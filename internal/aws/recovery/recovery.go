// Package recovery backs up the tables of DynamoDB, and brings them back under
// another name, by DynamoDB's own means: backups on demand, and point-in-time
// recovery. A backup of GCO is one of each table, all of one name. [Keeper] does
// for the tables what backup.Keeper does for the embedded database, and
// [Restore] what backup.Restore does.
//
// It makes no schedule: the daily and weekly backups of the tables are AWS
// Backup's, by the plan of infra/. daemon runs a Keeper beside a server on
// DynamoDB, the command line calls Restore.
package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/backup"
	store "github.com/gco-project/gco/internal/store/dynamodb"
)

// Options say which tables, and where.
type Options struct {
	// Project starts the tables' names.
	Project string
	// Names are those of tables that are called otherwise, by their name in
	// the driver's list.
	Names map[string]string
	// Region and EndpointURL are the environment's and AWS' where empty.
	Region      string
	EndpointURL string
	Clock       clock.WithTicker
	Log         *slog.Logger
}

// table is one of the tables.
type table struct {
	store.Table
	full string
}

// service is DynamoDB, with the tables that are meant.
type service struct {
	Options
	*dynamodb.Client
	tables []table
}

func connect(ctx context.Context, o Options) (*service, error) {
	var options []func(*config.LoadOptions) error
	if o.Region != "" {
		options = append(options, config.WithRegion(o.Region))
	}
	loaded, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	s := &service{Options: o, tables: tablesOf(o.Project, o.Names)}
	s.Client = dynamodb.NewFromConfig(loaded, func(c *dynamodb.Options) {
		if o.EndpointURL != "" {
			c.BaseEndpoint = &o.EndpointURL
		}
	})
	return s, nil
}

func tablesOf(project string, names map[string]string) []table {
	var tables []table
	for _, t := range store.Tables {
		full := project + "-" + t.Name
		if other := names[t.Name]; other != "" {
			full = other
		}
		tables = append(tables, table{t, full})
	}
	return tables
}

// String is how people know the tables.
func (s *service) String() string { return "dynamodb://" + s.Project }

// window is the time from which all tables can be restored; zero where
// point-in-time recovery is off for one of them.
func (s *service) window(ctx context.Context) (backup.Window, error) {
	w := backup.Window{Incarnation: s.Project}
	for _, t := range s.tables {
		answer, err := s.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &t.full})
		if err != nil {
			return backup.Window{}, fmt.Errorf("asking how far back %s can be restored: %w", t.full, explain(err))
		}
		d := answer.ContinuousBackupsDescription
		if d == nil || d.PointInTimeRecoveryDescription == nil ||
			d.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus != types.PointInTimeRecoveryStatusEnabled {
			return backup.Window{}, nil
		}
		earliest := aws.ToTime(d.PointInTimeRecoveryDescription.EarliestRestorableDateTime)
		latest := aws.ToTime(d.PointInTimeRecoveryDescription.LatestRestorableDateTime)
		if earliest.After(w.From) {
			w.From = earliest
		}
		if w.To.IsZero() || latest.Before(w.To) {
			w.To = latest
		}
	}
	w.SecondsFrom = w.From
	return w, nil
}

// explain names what an operator can do about an answer.
func explain(err error) error {
	switch {
	case isA[*types.TableNotFoundException](err), isA[*types.ResourceNotFoundException](err):
		return fmt.Errorf("%w: there is no such table; name the project and the AWS Region of the tables: %w", backup.ErrNotFound, err)
	case isA[*types.BackupInUseException](err), isA[*types.TableInUseException](err):
		return fmt.Errorf("%w: %w", backup.ErrBusy, err)
	case isA[*types.PointInTimeRecoveryUnavailableException](err):
		return fmt.Errorf("point-in-time recovery is off for this table: %w", err)
	case isA[*types.InvalidRestoreTimeException](err):
		return fmt.Errorf("%w: the table can't be restored to that time: %w", backup.ErrNotFound, err)
	case isA[*types.TableAlreadyExistsException](err):
		return fmt.Errorf("%w: %w", backup.ErrOccupied, err)
	}
	return err
}

func isA[T error](err error) bool {
	_, ok := errors.AsType[T](err)
	return ok
}

// until asks over and over, at a pace, until done says so.
func (s *service) until(ctx context.Context, done func() (bool, error)) error {
	ticker := s.Clock.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lookEvery is the pace at which something that takes minutes is asked for.
const lookEvery = 5 * time.Second
