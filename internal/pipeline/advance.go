package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/job"
)

// LookEvery is how often a pipeline that runs is looked at even though nothing
// seems to have happened.
const LookEvery = 5 * time.Minute

// Gone is how a job of others ended whose record was removed before anybody
// looked.
const Gone job.State = "gone"

// Bounds of what a record keeps.
const (
	maxEarlier = 5
	maxMessage = 256
)

// The reasons of steps that skip or fail for what is not in their job.
const (
	ReasonDependency = "dependency"
	ReasonCancelled  = "cancelled"
	ReasonGone       = "gone"
)

// NotAllowed is the error for a wish that the state does not allow.
type NotAllowed struct {
	ID    ID
	State State
	Wish  string
}

func (e *NotAllowed) Error() string {
	return fmt.Sprintf("pipeline %s is %s: %s is not possible", e.ID, e.State, e.Wish)
}

// Advance takes in how jobs stand, and decides what follows:
//
//  1. a step whose job ended has the state of the job;
//  2. once a user has cancelled, a step that waits is skipped;
//  3. a step that can never begin is skipped, and with it, for its own reason,
//     each that waits for it;
//  4. a step whose conditions hold is to start;
//  5. when every step has come to its end, so has the pipeline.
//
// jobs has those of Jobs that exist; one that is missing is gone for good. The
// caller submits the steps in StepStarting, says so by Started or Refused, and
// cancels the jobs of ToStop.
func (p Pipeline) Advance(jobs map[job.ID]job.Job, now time.Time) (next Pipeline, changed bool) {
	if p.State.Terminal() {
		return p, false
	}
	p = p.clone()
	for i := range p.Steps {
		changed = p.observe(&p.Steps[i], jobs, now) || changed
	}
	for again := true; again; {
		again = false
		for i := range p.Steps {
			if s := &p.Steps[i]; s.State == StepWaiting && p.decide(s, now) {
				again, changed = true, true
			}
		}
	}
	if !slices.ContainsFunc(p.Steps, func(s Step) bool { return !s.State.Terminal() }) {
		p.finish(now)
		changed = true
	}
	return p, changed
}

// observe takes in how the jobs of one step stand.
func (p *Pipeline) observe(s *Step, jobs map[job.ID]job.Job, now time.Time) (changed bool) {
	switch s.State {
	case StepRunning:
		j, exists := jobs[s.Job]
		if exists && !j.State.Terminal() {
			return false
		}
		s.FinishedAt = now
		if !exists {
			s.State, s.Reason, s.Message = StepFailed, ReasonGone, "the record of its job was removed before anybody saw how it ended"
			return true
		}
		s.end(j)
		return true
	case StepWaiting:
		for i := range s.After {
			d := &s.After[i]
			if d.Job == "" || d.Ended != "" {
				continue
			}
			if j, exists := jobs[d.Job]; !exists {
				d.Ended, changed = Gone, true
			} else if j.State.Terminal() {
				d.Ended, changed = j.State, true
			}
		}
	}
	return changed
}

// end gives a step the end of its job.
func (s *Step) end(j job.Job) {
	s.State = map[job.State]StepState{
		job.Succeeded: StepSucceeded, job.Failed: StepFailed, job.Cancelled: StepCancelled,
	}[j.State]
	s.Reason, s.Message = j.Reason, cut(j.Message)
	if !j.FinishedAt.IsZero() {
		s.FinishedAt = j.FinishedAt
	}
	for _, key := range s.Wanted {
		if value, ok := j.Outputs[key]; ok {
			if s.Outputs == nil {
				s.Outputs = job.Outputs{}
			}
			s.Outputs[key] = value
		}
	}
}

// decide tells whether a waiting step waits no longer.
func (p *Pipeline) decide(s *Step, now time.Time) bool {
	if p.Stopping {
		s.skip(ReasonCancelled, "", "the pipeline was cancelled before it began", now)
		return true
	}
	ready := true
	for _, d := range s.After {
		switch met, possible := p.met(d); {
		case !possible:
			cause, why := p.why(d)
			s.skip(ReasonDependency, cause, why, now)
			return true
		case !met:
			ready = false
		}
	}
	if ready {
		s.State, s.Run, s.StartedAt = StepStarting, p.Run, now
	}
	return ready
}

// met tells whether a dependency holds, and whether it holds or still can.
func (p *Pipeline) met(d Dependency) (met, possible bool) {
	ended := StepState(d.Ended)
	if d.Step != "" {
		ended = p.Steps[p.step(d.Step)].State
	}
	if ended == "" || d.Step != "" && !ended.Terminal() {
		return false, true
	}
	met = d.Condition == OnFinish ||
		d.Condition == OnSuccess && ended == StepSucceeded ||
		d.Condition == OnFailure && ended == StepFailed
	return met, met
}

// why says for what a step is skipped, in words and by the step at the root of
// it.
func (p *Pipeline) why(d Dependency) (cause, message string) {
	what := "job " + string(d.Job)
	ended := string(d.Ended)
	if d.Step != "" {
		s := p.Steps[p.step(d.Step)]
		what, ended, cause = "step "+s.Name, string(s.State), s.Name
		if s.Cause != "" {
			cause = s.Cause
			root := p.Steps[p.step(cause)]
			return cause, fmt.Sprintf("step %s was skipped, since step %s %s", s.Name, root.Name, past(string(root.State)))
		}
		if s.State == StepSkipped {
			return cause, fmt.Sprintf("step %s was skipped: %s", s.Name, s.Message)
		}
	}
	waited := "it to succeed"
	if d.Condition == OnFailure {
		waited = "it to fail"
	}
	return cause, fmt.Sprintf("%s %s; this step waits for %s", what, past(ended), waited)
}

// past is how a state reads after its subject.
func past(state string) string {
	switch state {
	case string(StepCancelled), string(StepSkipped):
		return "was " + state
	case string(Gone):
		return "is gone"
	}
	return state
}

func (s *Step) skip(reason, cause, message string, now time.Time) {
	s.State, s.Reason, s.Cause, s.Message, s.FinishedAt = StepSkipped, reason, cause, cut(message), now
}

// finish gives the pipeline its end.
func (p *Pipeline) finish(now time.Time) {
	defer func() { p.Event = endings[p.State] }()
	p.State, p.FinishedAt, p.Message = Succeeded, now, ""
	for _, s := range p.Steps {
		switch s.State {
		case StepFailed, StepCancelled:
			if p.State == Succeeded {
				p.State = Failed
				p.Message = strings.TrimSuffix(fmt.Sprintf("step %s %s: %s", s.Name, past(string(s.State)), s.Message), ": ")
			}
		case StepSkipped:
			if s.Reason == ReasonCancelled {
				p.State, p.Message = Cancelled, "cancelled by a user"
				return
			}
		}
	}
	if p.Stopping && p.State == Failed && slices.ContainsFunc(p.Steps, func(s Step) bool { return s.State == StepCancelled }) {
		p.State, p.Message = Cancelled, "cancelled by a user"
	}
}

// Starting lists the steps whose job is to be submitted, by their index.
func (p *Pipeline) Starting() []int {
	var all []int
	for i, s := range p.Steps {
		if s.State == StepStarting {
			all = append(all, i)
		}
	}
	return all
}

// ToStop lists the jobs that are to be cancelled.
func (p *Pipeline) ToStop() []job.ID {
	var all []job.ID
	for _, s := range p.Steps {
		if p.Stopping && s.State == StepRunning {
			all = append(all, s.Job)
		}
	}
	return all
}

// Started says that the job of a step in StepStarting was submitted.
func (p Pipeline) Started(step int, id job.ID) Pipeline {
	p = p.clone()
	p.Steps[step].State, p.Steps[step].Job = StepRunning, id
	return p
}

// Refused says that the job of a step in StepStarting will never be accepted.
func (p Pipeline) Refused(step int, reason, message string, now time.Time) Pipeline {
	p = p.clone()
	s := &p.Steps[step]
	s.State, s.Reason, s.Message, s.FinishedAt = StepFailed, reason, cut(message), now
	return p
}

// Cancel lets nothing more begin; jobs that run are to be cancelled.
// Cancelling again changes nothing. *NotAllowed once it has ended.
func (p Pipeline) Cancel() (next Pipeline, changed bool, err error) {
	if p.State.Terminal() {
		return p, false, &NotAllowed{p.ID, p.State, "cancel"}
	}
	changed = !p.Stopping
	p.Stopping = true
	return p, changed, nil
}

// Retry begins another run: of the steps that failed or were cancelled, and of
// those that wait for one of them. The others keep what they have. *NotAllowed
// while it runs, and when it succeeded.
func (p Pipeline) Retry() (Pipeline, error) {
	if p.State == Running || p.State == Succeeded {
		return p, &NotAllowed{p.ID, p.State, "retry"}
	}
	p = p.clone()
	var broken []string
	for _, s := range p.Steps {
		if s.State == StepFailed || s.State == StepCancelled || s.Reason == ReasonCancelled {
			broken = append(broken, s.Name)
		}
	}
	for i, s := range p.Steps {
		if slices.ContainsFunc(broken, func(b string) bool { return b == s.Name || waitsFor(p.Steps, s.Name, b) }) {
			p.Steps[i] = s.fresh()
		}
	}
	p.State, p.Stopping, p.Message, p.FinishedAt = Running, false, "", time.Time{}
	p.Event = EventRetried
	p.Run++
	return p, nil
}

// fresh is the step before its next run.
func (s Step) fresh() Step {
	earlier := s.Earlier
	if s.Job != "" {
		earlier = append([]job.ID{s.Job}, earlier...)
	}
	return Step{
		Name: s.Name, After: s.After, Wanted: s.Wanted, State: StepWaiting, Run: s.Run,
		Earlier: earlier[:min(len(earlier), maxEarlier)],
	}
}

// Revised is the record as it is to be written after changes.
func (p Pipeline) Revised(now time.Time) Pipeline {
	p.Version++
	p.UpdatedAt = now
	switch {
	case p.State.Terminal():
		p.DueAt = p.FinishedAt.Add(Keep)
	case len(p.Starting()) > 0:
		p.DueAt = now
	default:
		p.DueAt = now.Add(LookEvery)
	}
	return p
}

func cut(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage], "") + "..."
}
