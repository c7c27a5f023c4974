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

// recordColumns are what scanJob reads, in its order.
const recordColumns = `id, state, version, intent, stop_reason, region, attempt, failures, losses, releases, moves,
	reason, message, exit_code, logs, shipped, shipped_attempt, submitted_at, not_before, deadline_at, placed_at,
	claimed_at, started_at, finished_at, updated_at, region_lost_at, spec`

const recordWidth = 27

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

func (r *recordScan) text(i int) string    { text, _ := r.values[i].(string); return text }
func (r *recordScan) number(i int) int64   { number, _ := r.values[i].(int64); return number }
func (r *recordScan) time(i int) time.Time { return instantOf(r.values[i]) }

// job makes a record of the row.
func (r *recordScan) job() (job.Job, error) {
	j := job.Job{
		ID: job.ID(r.text(0)), State: job.State(r.text(1)), Version: r.number(2),
		Intent: job.Intent(r.text(3)), StopReason: job.StopReason(r.text(4)),
		Region: r.text(5), Attempt: int(r.number(6)),
		Failures: int(r.number(7)), Losses: int(r.number(8)), Releases: int(r.number(9)), Moves: int(r.number(10)),
		Reason: r.text(11), Message: r.text(12), Logs: job.LogState(r.text(14)),
		SubmittedAt: r.time(17), NotBefore: r.time(18), DeadlineAt: r.time(19), PlacedAt: r.time(20),
		ClaimedAt: r.time(21), StartedAt: r.time(22), FinishedAt: r.time(23), UpdatedAt: r.time(24),
		RegionLostAt: r.time(25),
	}
	if exit, ok := r.values[13].(int64); ok {
		exitCode := int(exit)
		j.ExitCode = &exitCode
	}
	if shipped := r.text(15); shipped != "" && int(r.number(16)) == j.Attempt {
		j.Logs = job.LogState(shipped)
	}
	if err := json.Unmarshal([]byte(r.text(26)), &j.Spec); err != nil {
		return job.Job{}, fmt.Errorf("reading the spec of job %s: %w", j.ID, err)
	}
	return j, nil
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
