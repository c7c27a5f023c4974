package job

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// drawSpec draws the parts of a spec that the rules look at.
func drawSpec(t *rapid.T) Spec {
	return Spec{
		Namespace:    "default",
		Name:         "life",
		Retries:      rapid.IntRange(0, 4).Draw(t, "retries"),
		OnRegionLost: rapid.SampledFrom([]OnRegionLost{Requeue, Fail, Wait}).Draw(t, "onRegionLost"),
		Deadline:     rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "deadline"),
	}
}

func drawEvent(t *rapid.T, kinds []EventKind) Event {
	event := Event{
		Kind:       rapid.SampledFrom(kinds).Draw(t, "event"),
		Region:     rapid.SampledFrom([]string{"north", "south"}).Draw(t, "region"),
		StopReason: rapid.SampledFrom([]StopReason{ByCancel, ByDeadline}).Draw(t, "stopReason"),
		Final:      rapid.IntRange(0, 9).Draw(t, "final") == 0,
		Decision:   json.RawMessage(`{}`),
	}
	if rapid.Bool().Draw(t, "exited") {
		code := rapid.IntRange(0, 255).Draw(t, "exitCode")
		event.ExitCode = &code
	}
	return event
}

// onward are the events that lead a job on to its end.
var onward = map[State][]EventKind{
	Queued:  {Place},
	Placed:  {Claim},
	Claimed: {Applied, Started},
	Pending: {Started},
	Running: {Finished, Failure, LostEvent, Released},
}

// likely narrows the kinds, half of the time, to what leads on, so that lives
// get far; the other half says anything.
func likely(t *rapid.T, state State, kinds []EventKind) []EventKind {
	forward := slices.DeleteFunc(slices.Clone(onward[state]), func(kind EventKind) bool { return !slices.Contains(kinds, kind) })
	if len(forward) == 0 || rapid.Bool().Draw(t, "anything") {
		return kinds
	}
	return forward
}

// live applies events to a fresh job and hands every step that was not refused
// to check.
func live(t *rapid.T, kinds []EventKind, check func(before, after Job, event Event, transition Transition)) Job {
	now := epoch
	j, first := New(NewID(), drawSpec(t), now)
	if first.Number != 1 || first.To != Queued || j.Version != 1 {
		t.Fatalf("the first transition is %+v of %+v", first, j)
	}
	for range rapid.IntRange(20, 100).Draw(t, "steps") {
		now = now.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "ms")) * time.Millisecond)
		event := drawEvent(t, likely(t, j.State, kinds))
		before, _ := json.Marshal(j)
		after, transition, err := j.Apply(event, now)
		if unchanged, _ := json.Marshal(j); !bytes.Equal(unchanged, before) {
			t.Fatalf("Apply changed its receiver from %s to %s", before, unchanged)
		}
		if err != nil {
			continue
		}
		check(j, after, event, transition)
		j = after
	}
	return j
}

func TestEveryStepIsNumberedOnceAndToldTruly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live(t, eventKinds, func(before, after Job, event Event, transition Transition) {
			if after.Version != before.Version+1 || transition.Number != after.Version {
				t.Fatalf("version %d became %d, and the transition is number %d", before.Version, after.Version, transition.Number)
			}
			if transition.Job != before.ID || transition.Event != event.Kind ||
				transition.From != before.State || transition.To != after.State {
				t.Fatalf("%s of %s to %s is told as %+v", event.Kind, before.State, after.State, transition)
			}
			if transition.Namespace != before.Spec.Namespace || !transition.At.Equal(after.UpdatedAt) {
				t.Fatalf("the transition is %+v of %+v", transition, after)
			}
			if before.ID != after.ID || !before.SubmittedAt.Equal(after.SubmittedAt) || before.Spec.Retries != after.Spec.Retries {
				t.Fatalf("what never changes changed: %+v became %+v", before, after)
			}
		})
	})
}

func TestTheTargetIsInTheTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live(t, eventKinds, func(before, after Job, event Event, _ Transition) {
			if !slices.ContainsFunc(Table, func(r Rule) bool {
				return r.Event == event.Kind && slices.Contains(r.From, before.State) &&
					slices.Contains(r.Targets(before.State), after.State)
			}) {
				t.Fatalf("%s led from %s to %s, which no rule has", event.Kind, before.State, after.State)
			}
		})
	})
}

func TestATerminalStateIsNeverLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live(t, eventKinds, func(before, after Job, event Event, _ Transition) {
			if before.State.Terminal() {
				t.Fatalf("%s led out of %s to %s", event.Kind, before.State, after.State)
			}
			if after.State.Terminal() != !after.FinishedAt.IsZero() {
				t.Fatalf("a job that is %s finished at %v", after.State, after.FinishedAt)
			}
		})
	})
}

func TestAttemptsOnlyGrowAndOnlyByAClaim(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live(t, eventKinds, func(before, after Job, event Event, _ Transition) {
			want := before.Attempt
			if event.Kind == Claim {
				want++
			}
			if after.Attempt != want {
				t.Fatalf("%s took attempt %d to %d", event.Kind, before.Attempt, after.Attempt)
			}
		})
	})
}

func TestARegionAnswersExactlyFromPlacedOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live(t, eventKinds, func(before, after Job, event Event, transition Transition) {
			if after.State == Queued && (after.Region != "" || after.Intent != Run || !after.RegionLostAt.IsZero()) {
				t.Fatalf("queued with traces of an attempt: %+v", after)
			}
			if (after.State == Placed || after.State.Active()) && after.Region == "" {
				t.Fatalf("%s without a region", after.State)
			}
			if event.Kind != Place && after.Region != before.Region && after.Region != "" {
				t.Fatalf("%s moved the job from %s to %s", event.Kind, before.Region, after.Region)
			}
			if before.Region != "" && transition.Region == "" {
				t.Fatalf("%s at %s is told without the region", event.Kind, before.Region)
			}
		})
	})
}

func TestOnlyTheWorkloadsOwnFailuresAreHeldAgainstTheRetries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		live(t, eventKinds, func(before, after Job, event Event, _ Transition) {
			if after.Failures != before.Failures &&
				(event.Kind != Failure || !before.State.Active() || after.Failures != before.Failures+1) {
				t.Fatalf("%s in %s took failures from %d to %d", event.Kind, before.State, before.Failures, after.Failures)
			}
			if after.State == Queued && after.Failures > after.Spec.Retries {
				t.Fatalf("queued again after %d failures with %d retries", after.Failures, after.Spec.Retries)
			}
			if after.State == Failed && event.Kind == Failure && before.State.Active() && before.Intent != Stop &&
				after.Failures <= after.Spec.Retries {
				t.Fatalf("failed for good after %d failures with %d retries", after.Failures, after.Spec.Retries)
			}
			if event.Kind == Failure && after.State == Queued && !after.NotBefore.After(after.UpdatedAt) {
				t.Fatalf("a failure is followed by another attempt at once: not before %v, now %v", after.NotBefore, after.UpdatedAt)
			}
		})
	})
}

// TestWhatIsNobodysFaultIsCapped drives jobs through nothing but losses,
// releases and moves, and so far past the caps.
func TestWhatIsNobodysFaultIsCapped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]EventKind{LostEvent, Released, Stopped}).Draw(t, "kind")
		now := epoch
		j, _ := New(NewID(), Spec{Namespace: "default", OnRegionLost: Requeue}, now)
		for rounds := 0; !j.State.Terminal(); rounds++ {
			if rounds > MaxLosses+1 {
				t.Fatalf("%d rounds of %s and still %s", rounds, kind, j.State)
			}
			events := []Event{{Kind: Place, Region: "r"}, {Kind: Claim}}
			if kind == Stopped {
				events = append(events, Event{Kind: MoveAsked})
			}
			for _, event := range append(events, Event{Kind: kind}) {
				var err error
				if j, _, err = j.Apply(event, now); err != nil {
					t.Fatal(err)
				}
			}
		}
		counted := map[EventKind]int{LostEvent: j.Losses, Released: j.Releases, Stopped: j.Moves}
		if j.State != Failed || counted[kind] != MaxLosses+1 || j.Failures != 0 {
			t.Fatalf("ended %s after %d of %s, with %d failures", j.State, counted[kind], kind, j.Failures)
		}
	})
}

// TestACancelWins: from a cancel on, whatever the region reports, the job never
// runs again; only the end that the attempt had already come to may differ.
func TestACancelWins(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := live(t, eventKinds, func(before, after Job, event Event, _ Transition) {
			if before.Intent != Stop || before.StopReason != ByCancel {
				return
			}
			switch {
			case after.State == Succeeded && event.Kind == Finished, after.State == Cancelled:
			case after.State == Failed && event.Kind == LostEvent:
				t.Fatalf("a cancelled job failed of a loss: %+v", after)
			case after.State.Active() && after.Intent == Stop && after.StopReason == ByCancel:
			default:
				t.Fatalf("%s undid a cancel: %s with intent %s %s", event.Kind, after.State, after.Intent, after.StopReason)
			}
		})
		if j.State == Cancelled && j.StopReason != ByCancel {
			t.Fatalf("cancelled by %q", j.StopReason)
		}
	})
}

// TestEveryJobCanEnd: whatever has happened, a cancel and the region's word
// that it is done lead to an end in two steps.
func TestEveryJobCanEnd(t *testing.T) {
	kinds := slices.DeleteFunc(slices.Clone(eventKinds), func(k EventKind) bool { return k == Finished })
	rapid.Check(t, func(t *rapid.T) {
		j := live(t, kinds, func(Job, Job, Event, Transition) {})
		if j.State.Terminal() {
			return
		}
		if j.State.Active() {
			var err error
			if j, _, err = j.Apply(Event{Kind: StopAsked, StopReason: ByCancel}, epoch); err != nil {
				t.Fatal(err)
			}
		}
		after, _, err := j.Apply(Event{Kind: Stopped, StopReason: ByCancel}, epoch)
		if err != nil || after.State != Cancelled {
			t.Fatalf("a cancel of %s led to %s, %v", j.State, after.State, err)
		}
	})
}

func TestLivesReachEveryState(t *testing.T) {
	seen := map[State]int{}
	rapid.Check(t, func(t *rapid.T) {
		live(t, eventKinds, func(_, after Job, _ Event, _ Transition) { seen[after.State]++ })
	})
	for _, state := range States {
		if seen[state] == 0 {
			t.Errorf("no life came to %s: the properties above have not looked at it (%v)", state, seen)
		}
	}
}
