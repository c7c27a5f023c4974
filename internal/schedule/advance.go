package schedule

import (
	"fmt"
	"slices"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
)

const (
	// Grace is how late a tick may run without being missed.
	Grace = time.Minute
	// lookEvery is how often a schedule is looked at whose runs go on.
	lookEvery = 5 * time.Minute
)

// anyTime is one before which no schedule was made, and far from any end of
// the calendar.
var anyTime = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// The reasons of runs that the job does not give.
const (
	ReasonRunning  = "running"
	ReasonMissed   = "missed"
	ReasonBacklog  = "backlog"
	ReasonReplaced = "replaced"
)

// Busy is the error for a wish to run now while an earlier run has not ended.
type Busy struct{ Run Run }

func (e *Busy) Error() string {
	return fmt.Sprintf("the run %s has not ended, and concurrency is forbid", e.Run.ID)
}

// Tick decides on the ticks that are due:
//
//  1. of missed ones (more than Grace ago), Spec.Missed says which run; with
//     MissedOnce one run stands for all that are due;
//  2. while an earlier run has not ended, Spec.Concurrency says what happens
//     to each;
//  3. the others are to run: the caller writes the record, then submits what
//     is in Starting, and says so by Started or Refused.
//
// A paused schedule has none.
func (s Schedule) Tick(c Cron, now time.Time) (next Schedule, changed bool) {
	if s.Spec.Paused {
		return s, false
	}
	due := c.Last(s.Since, now, s.Spec.MissedLimit+int(Grace/time.Minute)+1)
	if len(due) == 0 {
		return s, false
	}
	s = s.clone()
	missed := 0
	for missed < len(due) && now.Sub(due[missed]) > Grace {
		missed++
	}
	note := ""
	switch s.Spec.Missed {
	case MissedOnce:
		if len(due) > 1 {
			note = "it stands for the missed ticks before it, too"
		}
		due = due[len(due)-1:]
	case MissedSkip:
		if missed > 0 {
			s.remember(Run{
				ID: tickID(due[missed-1]), Tick: due[missed-1], At: now, Outcome: Skipped, Reason: ReasonMissed,
				Message: "nobody was there in time for this tick, or those just before it",
			})
			s.Since = due[missed-1]
		}
		due = due[missed:]
	case MissedAll:
		due = due[max(0, missed-s.Spec.MissedLimit):]
	}
	for _, tick := range due {
		s.run(Run{ID: tickID(tick), Tick: tick, At: now, Message: note})
		s.Since = tick
	}
	return s, true
}

func tickID(tick time.Time) string { return tick.UTC().Format(time.RFC3339) }

// RunNow adds a run that no tick asked for. id must be new. *Busy while an
// earlier run has not ended and the policy is Forbid.
func (s Schedule) RunNow(id, by string, now time.Time) (Schedule, error) {
	s = s.clone()
	if i := s.open(); i >= 0 && s.Spec.Concurrency == Forbid {
		return s, &Busy{s.Runs[i]}
	}
	s.run(Run{ID: id, By: by, At: now})
	return s, nil
}

// run decides whether a run may begin beside those that have not ended.
func (s *Schedule) run(r Run) {
	r.Outcome = Starting
	if i := s.open(); i >= 0 {
		switch s.Spec.Concurrency {
		case Forbid:
			r.Outcome, r.Reason = Skipped, ReasonRunning
			r.Message = fmt.Sprintf("the run %s had not ended", s.Runs[i].ID)
		case Replace:
			for i := range s.Runs {
				if s.Runs[i].Outcome.Open() {
					s.Runs[i].Reason, s.Runs[i].Message = ReasonReplaced, "replaced by the run "+r.ID
				}
			}
		}
	}
	if r.Outcome == Starting && len(s.Starting()) >= MaxMissedLimit {
		r.Outcome, r.Reason, r.Message = Skipped, ReasonBacklog, "too many earlier runs are still to be submitted"
	}
	s.remember(r)
}

// open returns the index of the newest run that has not ended; -1 for none.
func (s *Schedule) open() int {
	return slices.IndexFunc(s.Runs, func(r Run) bool { return r.Outcome.Open() })
}

// remember adds a run, tells of one that is skipped, and forgets the oldest one that may be forgotten:
// those that have ended first, and none that is still to be submitted.
func (s *Schedule) remember(r Run) {
	if r.Outcome == Skipped {
		s.tell(EventSkipped, r)
	}
	s.Runs = append([]Run{r}, s.Runs...)
	for _, may := range []func(Outcome) bool{
		func(o Outcome) bool { return !o.Open() },
		func(o Outcome) bool { return o == Submitted },
	} {
		for i := len(s.Runs) - 1; i > 0 && len(s.Runs) > KeepRuns; i-- {
			if may(s.Runs[i].Outcome) {
				s.Runs = slices.Delete(s.Runs, i, i+1)
			}
		}
	}
}

// Starting lists the runs that are to be submitted, oldest first, by their
// index.
func (s *Schedule) Starting() []int {
	var all []int
	for i, r := range slices.Backward(s.Runs) {
		if r.Outcome == Starting {
			all = append(all, i)
		}
	}
	return all
}

// Open lists the runs whose job or pipeline has not been seen to end.
func (s *Schedule) Open() []Run {
	var all []Run
	for _, r := range s.Runs {
		if r.Outcome == Submitted {
			all = append(all, r)
		}
	}
	return all
}

// ToStop lists the runs whose job or pipeline is to be cancelled.
func (s *Schedule) ToStop() []Run {
	return slices.DeleteFunc(s.Open(), func(r Run) bool { return r.Reason != ReasonReplaced })
}

// Pin fixes the version of the template of which runs are made that are to be
// submitted.
func (s Schedule) Pin(version int64) Schedule {
	s = s.clone()
	for _, i := range s.Starting() {
		if s.Runs[i].TemplateVersion == 0 {
			s.Runs[i].TemplateVersion = version
		}
	}
	return s
}

// Started says that a run was submitted, as a job or as a pipeline.
func (s Schedule) Started(run int, id job.ID, pipeline pipeline.ID) Schedule {
	s = s.clone()
	s.Runs[run].Outcome, s.Runs[run].Job, s.Runs[run].Pipeline = Submitted, id, pipeline
	s.tell(EventSubmitted, s.Runs[run])
	return s
}

// Refused says that what a run submits will never be accepted.
func (s Schedule) Refused(run int, reason, message string) Schedule {
	const most = 512
	if len(message) > most {
		message = message[:most]
	}
	s = s.clone()
	s.Runs[run].Outcome, s.Runs[run].Reason, s.Runs[run].Message = Refused, reason, message
	s.tell(EventRefused, s.Runs[run])
	return s
}

// Observe takes in how runs ended, by their ID.
func (s Schedule) Observe(ends map[string]Outcome) (next Schedule, changed bool) {
	s = s.clone()
	for i, r := range s.Runs {
		if end, known := ends[r.ID]; known && r.Outcome == Submitted && end != Submitted {
			s.Runs[i].Outcome, changed = end, true
		}
	}
	return s, changed
}

// Revised is the record as it is to be written after changes.
func (s Schedule) Revised(c Cron, now time.Time) Schedule {
	s.Version++
	s.UpdatedAt = now
	s.Next = time.Time{}
	if !s.Spec.Paused {
		s.Next = c.Next(s.Since)
	}
	s.DueAt = s.Next
	if look := now.Add(lookEvery); len(s.Open()) > 0 && (s.DueAt.IsZero() || look.Before(s.DueAt)) {
		s.DueAt = look
	}
	if len(s.Starting()) > 0 {
		s.DueAt = now
	}
	return s
}
