package sqlite

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/gco-project/gco/internal/job"
)

// The stages of a record.
const (
	stageLater   = 0 // queued, with a NotBefore that has not passed
	stageWaiting = 1
	stagePlaced  = 2
	stageActive  = 3
	stageEnded   = 4
)

// keys are the columns of a record that exist for the indexes only.
type keys struct {
	stage                int64
	stageAt, queue, lane any
	unwanted, overdueAt  any
}

// keysOf computes the keys of a record. Whether NotBefore has passed is decided
// by the time of the transition; later it is Wake that moves the job on.
func keysOf(j *job.Job, class int64) keys {
	var k keys
	switch {
	case j.State == job.Placed:
		k.stage, k.stageAt, k.queue = stagePlaced, instant(j.PlacedAt), queuePlaced+j.Region
	case j.State.Active():
		k.stage, k.stageAt, k.lane = stageActive, instant(j.WaitEndsAt()), laneHeld+j.Region
		if j.RegionLostAt.IsZero() {
			k.queue = queueActive + j.Region
		}
		if j.State == job.Claimed {
			k.lane = laneClaimed + j.Region
		}
		if j.Intent != job.Run {
			k.unwanted = j.Region
		}
	case j.State.Terminal():
		k.stage, k.stageAt = stageEnded, instant(j.ExpiresAt())
	case j.NotBefore.After(j.UpdatedAt):
		k.stage, k.stageAt, k.queue = stageLater, instant(j.NotBefore), queueLater
	default:
		k.stage, k.stageAt, k.queue = stageWaiting, instant(j.SubmittedAt), waitingQueue(class)
	}
	if !j.State.Terminal() && j.Intent != job.Stop {
		k.overdueAt = instant(j.DeadlineAt)
	}
	return k
}

// rare tells of a record with a key that few have.
func (k *keys) rare() bool { return k.unwanted != nil || k.overdueAt != nil }

// The queues and lanes, by their first word.
const (
	queueLater  = "later"
	queuePlaced = "placed "
	queueActive = "active "
	laneClaimed = "claimed "
	laneHeld    = "held "
)

func waitingQueue(class int64) string { return "waiting " + strconv.FormatInt(class, 10) }

// rankOf turns a priority into an ascending order.
func rankOf(priority int) int64 { return -int64(priority) }

// instant is a time as a column: nanoseconds since 1970, or NULL for none.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixNano()
}

func instantOf(column any) time.Time {
	if ns, ok := column.(int64); ok {
		return time.Unix(0, ns).UTC()
	}
	return time.Time{}
}

// recordColumns are what recordScan reads, in its order.
const recordColumns = `id, state, version, region, status, spec, shipped, shipped_attempt`

const recordWidth = 8

// recordScan holds the columns of one row. The driver's values go into it as
// they are, which is much faster than a typed Scan.
type recordScan struct {
	values [recordWidth]any
	into   [recordWidth]any
}

func newRecordScan() *recordScan {
	r := &recordScan{}
	for i := range r.values {
		r.into[i] = &r.values[i]
	}
	return r
}

func (r *recordScan) text(i int) string  { text, _ := r.values[i].(string); return text }
func (r *recordScan) number(i int) int64 { number, _ := r.values[i].(int64); return number }

func (r *recordScan) id() job.ID       { return job.ID(r.text(0)) }
func (r *recordScan) state() job.State { return job.State(r.text(1)) }
func (r *recordScan) region() string   { return r.text(3) }

// job makes a record of the row.
func (r *recordScan) job() (job.Job, error) {
	j := job.Job{ID: r.id(), State: r.state(), Version: r.number(2), Region: r.region()}
	if err := decodeStatus(r.text(4), &j); err != nil {
		return job.Job{}, err
	}
	if err := json.Unmarshal([]byte(r.text(5)), &j.Spec); err != nil {
		return job.Job{}, fmt.Errorf("reading the spec of job %s: %w", j.ID, err)
	}
	if shipped := r.text(6); shipped != "" && int(r.number(7)) == j.Attempt {
		j.Logs = job.LogState(shipped)
	}
	return j, nil
}

// records runs a statement that selects records which are JSON as a whole.
func records[T any](s *session, id stmt, args ...any) ([]T, error) {
	var all []T
	err := s.each(id, args, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		var record T
		err := json.Unmarshal([]byte(text), &record)
		all = append(all, record)
		return err
	})
	return all, err
}

// jobs runs a statement that selects recordColumns.
func (s *session) jobs(id stmt, args ...any) ([]job.Job, error) {
	var all []job.Job
	row := newRecordScan()
	err := s.each(id, args, func(scan func(...any) error) error {
		if err := scan(row.into[:]...); err != nil {
			return err
		}
		j, err := row.job()
		all = append(all, j)
		return err
	})
	return all, err
}
