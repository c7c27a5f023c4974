package job

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// eventKinds are all but Submitted, which New records and Apply refuses.
var eventKinds = []EventKind{
	Place, Unplace, Claim, Applied, Started, Finished, Failure, Released, LostEvent, Stopped,
	StopAsked, MoveAsked, RegionLost, RegionReturned,
}

// outcomes is the design's table, written out by hand: where each pair of state
// and event can lead. A pair that is missing is refused.
var outcomes = map[State]map[EventKind][]State{
	Queued: {
		Place:   {Placed},
		Failure: {Failed},
		Stopped: {Cancelled, Failed},
	},
	Placed: {
		Place:   {Placed},
		Unplace: {Queued},
		Claim:   {Claimed},
		Failure: {Failed},
		Stopped: {Cancelled, Failed},
	},
	Claimed: {
		Applied:        {Pending},
		Started:        {Running},
		Finished:       {Succeeded},
		Failure:        {Queued, Failed, Cancelled},
		Released:       {Queued, Failed, Cancelled},
		LostEvent:      {Queued, Failed, Cancelled},
		Stopped:        {Queued, Failed, Cancelled},
		StopAsked:      {Claimed},
		MoveAsked:      {Claimed},
		RegionLost:     {Claimed},
		RegionReturned: {Claimed},
	},
	Pending: {
		Started:        {Running},
		Finished:       {Succeeded},
		Failure:        {Queued, Failed, Cancelled},
		Released:       {Queued, Failed, Cancelled},
		LostEvent:      {Queued, Failed, Cancelled},
		Stopped:        {Queued, Failed, Cancelled},
		StopAsked:      {Pending},
		MoveAsked:      {Pending},
		RegionLost:     {Pending},
		RegionReturned: {Pending},
	},
	Running: {
		Finished:       {Succeeded},
		Failure:        {Queued, Failed, Cancelled},
		Released:       {Queued, Failed, Cancelled},
		LostEvent:      {Queued, Failed, Cancelled},
		Stopped:        {Queued, Failed, Cancelled},
		StopAsked:      {Running},
		MoveAsked:      {Running},
		RegionLost:     {Running},
		RegionReturned: {Running},
	},
	Succeeded: {},
	Failed:    {},
	Cancelled: {},
}

// variants are records in the given state that differ in everything that a
// rule may look at.
func variants(state State) []Job {
	intents := []Job{{Intent: Run}}
	if state.Active() {
		intents = append(intents, Job{Intent: Move},
			Job{Intent: Stop, StopReason: ByCancel}, Job{Intent: Stop, StopReason: ByDeadline})
	}
	var jobs []Job
	for _, j := range intents {
		for _, policy := range []OnRegionLost{Requeue, Fail, Wait} {
			for _, used := range []int{0, MaxLosses} {
				j.ID, j.Version, j.State, j.Attempt = "j", 7, state, 3
				j.Spec = Spec{Namespace: "default", Retries: 5, OnRegionLost: policy}
				j.Losses, j.Releases, j.Moves, j.Failures = used, used, used, used/4
				jobs = append(jobs, j)
			}
		}
	}
	return jobs
}

func TestEveryPairOfStateAndEventDoesWhatTheDesignSays(t *testing.T) {
	for _, state := range States {
		for _, kind := range append([]EventKind{Submitted}, eventKinds...) {
			t.Run(string(state)+"/"+string(kind), func(t *testing.T) {
				got := map[State]bool{}
				for _, j := range variants(state) {
					for _, reason := range []StopReason{ByCancel, ByDeadline} {
						after, _, err := j.Apply(Event{Kind: kind, Region: "r", StopReason: reason}, epoch)
						if err == nil {
							got[after.State] = true
						}
					}
				}
				want := outcomes[state][kind]
				if !sameStates(slices.Collect(maps.Keys(got)), want) {
					t.Errorf("%s in %s leads to %v; want %v", kind, state, slices.Sorted(maps.Keys(got)), want)
				}
				if Allowed(state, kind) != (len(want) > 0) {
					t.Errorf("Allowed(%s, %s) is %t", state, kind, Allowed(state, kind))
				}
			})
		}
	}
}

func TestTableListsExactlyTheOutcomes(t *testing.T) {
	for _, state := range States {
		for _, kind := range eventKinds {
			var listed []State
			for _, rule := range Table {
				if rule.Event == kind && slices.Contains(rule.From, state) {
					listed = append(listed, rule.Targets(state)...)
				}
			}
			if want := outcomes[state][kind]; !sameStates(listed, want) {
				t.Errorf("Table says that %s in %s leads to %v; want %v", kind, state, listed, want)
			}
		}
	}
}

func sameStates(a, b []State) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// TestRules covers the footnotes of the table: what decides between the
// outcomes of one pair.
func TestRules(t *testing.T) {
	running := func(change func(*Job)) Job {
		j := Job{
			ID: "j", State: Running, Version: 4, Intent: Run, Region: "here", Attempt: 1,
			Spec: Spec{Namespace: "default", OnRegionLost: Requeue, Deadline: time.Hour},
		}
		change(&j)
		return j
	}
	tests := []struct {
		name   string
		change func(*Job)
		event  Event
		want   State
		check  func(Job) bool
	}{
		{
			"a failure within the retries is tried again, after a pause",
			func(j *Job) { j.Spec.Retries = 1 },
			Event{Kind: Failure},
			Queued,
			func(j Job) bool { return j.Failures == 1 && j.NotBefore.Equal(epoch.Add(5*time.Second)) },
		},
		{
			"the pause doubles",
			func(j *Job) { j.Spec.Retries, j.Failures = 9, 3 },
			Event{Kind: Failure},
			Queued,
			func(j Job) bool { return j.NotBefore.Equal(epoch.Add(40 * time.Second)) },
		},
		{
			"the pause ends at five minutes",
			func(j *Job) { j.Spec.Retries, j.Failures = MaxRetries, MaxRetries-1 },
			Event{Kind: Failure},
			Queued,
			func(j Job) bool { return j.NotBefore.Equal(epoch.Add(5 * time.Minute)) },
		},
		{
			"the failure after the last retry is final",
			func(j *Job) { j.Spec.Retries, j.Failures = 1, 1 },
			Event{Kind: Failure, Reason: "exit"},
			Failed,
			func(j Job) bool { return j.Failures == 2 && j.Reason == "exit" },
		},
		{
			"a failure while a cancel is under way is the cancel",
			func(j *Job) { j.Spec.Retries, j.Intent, j.StopReason = 5, Stop, ByCancel },
			Event{Kind: Failure},
			Cancelled,
			func(j Job) bool { return j.Failures == 0 },
		},
		{
			"a success while a cancel is under way stands",
			func(j *Job) { j.Intent, j.StopReason = Stop, ByCancel },
			Event{Kind: Finished},
			Succeeded, nil,
		},
		{
			"a loss queues the job again and does not count as a failure",
			func(*Job) {},
			Event{Kind: LostEvent},
			Queued,
			func(j Job) bool {
				return j.Losses == 1 && j.Failures == 0 && j.NotBefore.IsZero() && j.Logs == LogsLost
			},
		},
		{
			"the loss after the cap fails the job and says so",
			func(j *Job) { j.Losses = MaxLosses },
			Event{Kind: LostEvent, Message: "spot"},
			Failed,
			func(j Job) bool { return j.Reason == "too-often-lost" && j.Message != "" },
		},
		{
			"a loss fails a job that asked for that",
			func(j *Job) { j.Spec.OnRegionLost = Fail },
			Event{Kind: LostEvent},
			Failed, nil,
		},
		{
			"a lost attempt of a job that waits for its region, with the region there, is a loss",
			func(j *Job) { j.Spec.OnRegionLost = Wait },
			Event{Kind: LostEvent},
			Queued, nil,
		},
		{
			"waiting too long for a region fails the job",
			func(j *Job) { j.Spec.OnRegionLost, j.RegionLostAt = Wait, epoch },
			Event{Kind: LostEvent, Final: true},
			Failed,
			func(j Job) bool { return j.RegionLostAt.IsZero() && j.Logs == LogsLost },
		},
		{
			"a loss while a cancel is under way is the cancel",
			func(j *Job) { j.Intent, j.StopReason = Stop, ByCancel },
			Event{Kind: LostEvent},
			Cancelled, nil,
		},
		{
			"a release gives the job back",
			func(*Job) {},
			Event{Kind: Released},
			Queued,
			func(j Job) bool { return j.Releases == 1 && j.Failures == 0 && j.Region == "" && j.NotBefore.IsZero() },
		},
		{
			"the second release does so after a pause",
			func(j *Job) { j.Releases = 1 },
			Event{Kind: Released},
			Queued,
			func(j Job) bool { return j.NotBefore.Equal(epoch.Add(time.Second)) },
		},
		{
			"the pause after a release doubles",
			func(j *Job) { j.Releases = 4 },
			Event{Kind: Released},
			Queued,
			func(j Job) bool { return j.NotBefore.Equal(epoch.Add(8 * time.Second)) },
		},
		{
			"the pause after a loss has a bound",
			func(j *Job) { j.Losses = MaxLosses - 1 },
			Event{Kind: LostEvent},
			Queued,
			func(j Job) bool { return j.NotBefore.Equal(epoch.Add(10 * time.Second)) },
		},
		{
			"the release after the cap fails the job",
			func(j *Job) { j.Releases = MaxReleases },
			Event{Kind: Released},
			Failed,
			func(j Job) bool { return j.Reason == "too-often-released" },
		},
		{
			"stopped for a cancel",
			func(j *Job) { j.Intent, j.StopReason = Stop, ByCancel },
			Event{Kind: Stopped},
			Cancelled, nil,
		},
		{
			"stopped for the deadline, with a message that names it",
			func(j *Job) { j.Intent, j.StopReason = Stop, ByDeadline },
			Event{Kind: Stopped},
			Failed,
			func(j Job) bool {
				return j.Reason == "deadline" && j.Message == "not finished within 1h0m0s of the submission"
			},
		},
		{
			"stopped for a move",
			func(j *Job) { j.Intent = Move },
			Event{Kind: Stopped},
			Queued,
			func(j Job) bool { return j.Moves == 1 && j.Intent == Run },
		},
		{
			"the move after the cap fails the job",
			func(j *Job) { j.Intent, j.Moves = Move, MaxMoves },
			Event{Kind: Stopped},
			Failed,
			func(j Job) bool { return j.Reason == "too-often-moved" },
		},
		{
			"a cancel replaces a move",
			func(j *Job) { j.Intent = Move },
			Event{Kind: StopAsked, StopReason: ByCancel},
			Running,
			func(j Job) bool { return j.Intent == Stop && j.StopReason == ByCancel },
		},
		{
			"a cancel replaces a deadline",
			func(j *Job) { j.Intent, j.StopReason = Stop, ByDeadline },
			Event{Kind: StopAsked, StopReason: ByCancel},
			Running,
			func(j Job) bool { return j.StopReason == ByCancel },
		},
		{
			"a new attempt has no exit code yet",
			func(j *Job) { j.State, j.ExitCode = Placed, new(int) },
			Event{Kind: Claim},
			Claimed,
			func(j Job) bool { return j.ExitCode == nil && j.Attempt == 2 && j.Logs == LogsNone },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			after, transition, err := running(test.change).Apply(test.event, epoch)
			if err != nil {
				t.Fatal(err)
			}
			if after.State != test.want || transition.To != test.want {
				t.Fatalf("became %s, and the transition says %s; want %s", after.State, transition.To, test.want)
			}
			if test.check != nil && !test.check(after) {
				t.Errorf("the record is wrong: %+v", after)
			}
		})
	}
}

func TestIntentsThatAreRefused(t *testing.T) {
	tests := []struct {
		name   string
		intent Intent
		reason StopReason
		event  Event
	}{
		{"nothing stops that nobody asked to stop", Run, "", Event{Kind: Stopped}},
		{"a move does not take a cancel back", Stop, ByCancel, Event{Kind: MoveAsked}},
		{"a move does not take a deadline back", Stop, ByDeadline, Event{Kind: MoveAsked}},
		{"a deadline does not replace a cancel", Stop, ByCancel, Event{Kind: StopAsked, StopReason: ByDeadline}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := Job{ID: "j", State: Running, Intent: test.intent, StopReason: test.reason}
			_, _, err := j.Apply(test.event, epoch)
			refused, ok := errors.AsType[*NotAllowed](err)
			if !ok {
				t.Fatalf("got %v; want *NotAllowed", err)
			}
			if want := fmt.Sprintf("job j is running: %s is not possible", test.event.Kind); refused.Error() != want {
				t.Errorf("the message is %q; want %q", refused, want)
			}
		})
	}
}

func TestTransitionsNameTheRegionAndTheType(t *testing.T) {
	running := Job{ID: "j", State: Running, Intent: Run, Region: "here", Attempt: 2, Spec: Spec{OnRegionLost: Wait}}
	tests := []struct {
		event Event
		want  string
	}{
		{Event{Kind: Finished}, "job.succeeded"},
		{Event{Kind: LostEvent}, "job.queued"},
		{Event{Kind: StopAsked, StopReason: ByCancel}, "job.stopping"},
		{Event{Kind: MoveAsked}, "job.moving"},
		{Event{Kind: RegionLost}, "job.region-lost"},
		{Event{Kind: RegionReturned}, "job.region-returned"},
	}
	for _, test := range tests {
		_, transition, err := running.Apply(test.event, epoch)
		if err != nil {
			t.Fatal(err)
		}
		if transition.Type != test.want || transition.Region != "here" || transition.Attempt != 2 {
			t.Errorf("%s: the transition is %+v; want type %s, region here, attempt 2", test.event.Kind, transition, test.want)
		}
	}
}
