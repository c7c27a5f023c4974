package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

// inPlace leaves no time between the end of some work and the next call.
func inPlace(o *Options) { o.Go = func(work func()) { work() } }

// answerAsWanted answers a call as the control plane does: at once where
// something is wanted of the agent that it does not know, or where it does
// not want to wait; else not at all, and then waits is true.
func answerAsWanted(e exchange, wanted api.SyncResponse) (waits bool) {
	known := func(ref api.AttemptRef) bool { return slices.Contains(e.request.Known, ref) }
	wanted.Start = slices.DeleteFunc(slices.Clone(wanted.Start), func(s api.Start) bool { return known(s.AttemptRef) })
	wanted.Stop = slices.DeleteFunc(slices.Clone(wanted.Stop), func(s api.Stop) bool { return known(s.AttemptRef) })
	if e.request.WaitSeconds > 0 && len(wanted.Start)+len(wanted.Stop) == 0 {
		return true
	}
	e.answer(wanted, nil)
	return false
}

// untilItWaits answers calls until the agent waits. The clock stands still:
// what the agent does it does at once.
func (b *bench) untilItWaits(e exchange, wanted api.SyncResponse) exchange {
	b.t.Helper()
	for range 10 {
		if answerAsWanted(e, wanted) {
			return e
		}
		e = b.next()
	}
	b.t.Fatal("the agent calls over and over and gets nowhere")
	return e
}

// do changes what the runtime does.
func (f *fakeRuntime) do(change func(*fakeRuntime)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeRuntime) count(call string) int {
	count := 0
	for _, c := range f.seen() {
		if c == call {
			count++
		}
	}
	return count
}

// read lists the attempts whose logs were read.
func (f *fakeRuntime) read() []job.AttemptID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reads)
}

var errBusyCluster = errors.New("the cluster is busy")

func TestWhatFailsIsTriedAgainAfterAPause(t *testing.T) {
	starts := with(func(r *api.SyncResponse) { r.Start = []api.Start{{AttemptRef: ref(one)}} })
	stops := with(func(r *api.SyncResponse) { r.Stop = []api.Stop{{AttemptRef: ref(one), Reason: "cancel"}} })
	for call, wanted := range map[string]api.SyncResponse{"apply j1.1": starts, "stop j1.1": stops} {
		t.Run(call, func(t *testing.T) {
			b := start(t, inPlace)
			b.runtime.do(func(f *fakeRuntime) { f.refuse, f.stopErr = errBusyCluster, errBusyCluster })
			if len(wanted.Stop) > 0 {
				b.runtime.set(one, runtime.PhaseRunning)
			}
			e := b.untilItWaits(b.open(), wanted)
			for tries := 1; tries < 4; tries++ {
				if got := b.runtime.count(call); got != tries {
					t.Fatalf("tried %d times, want %d", got, tries)
				}
				if wait := e.request.WaitSeconds; wait <= 0 || wait > retryPause.Seconds() {
					t.Fatalf("waits for %v s before it tries again", wait)
				}
				b.clock.Step(retryPause)
				// The poll has lasted as long as the agent asked for.
				e.answer(good, nil)
				e = b.untilItWaits(b.next(), wanted)
			}
		})
	}
}

// A control plane says what it has given up only when it hears of it.
func TestStopThatFailsIsNotForgotten(t *testing.T) {
	b := start(t, inPlace)
	b.runtime.set(one, runtime.PhaseRunning)
	b.runtime.do(func(f *fakeRuntime) { f.stopErr = errBusyCluster })
	b.open().answer(with(func(r *api.SyncResponse) { r.Stop = []api.Stop{{AttemptRef: ref(one), Reason: "superseded"}} }), nil)
	e := b.untilItWaits(b.next(), good)
	b.runtime.do(func(f *fakeRuntime) { f.stopErr, f.calls = nil, nil })
	b.clock.Step(retryPause)
	e.answer(good, nil)
	b.untilItWaits(b.next(), good)
	if b.runtime.count("stop j1.1") != 1 {
		t.Errorf("the runtime saw %v", b.runtime.seen())
	}
}

func TestUnreachableClusterIsNotCalledForWithoutPause(t *testing.T) {
	b := start(t, inPlace)
	b.runtime.set(one, runtime.PhaseRunning)
	poll := b.open()
	b.runtime.do(func(f *fakeRuntime) { f.listErr, f.stopErr = errBusyCluster, errBusyCluster })
	poll.answer(with(func(r *api.SyncResponse) { r.Stop = []api.Stop{{AttemptRef: ref(one), Reason: "cancel"}} }), nil)
	stops := with(func(r *api.SyncResponse) { r.Stop = []api.Stop{{AttemptRef: ref(one), Reason: "cancel"}} })
	if e := b.untilItWaits(b.next(), stops); !e.request.Unreachable {
		t.Errorf("the call is %+v", e.request)
	}
}

// While the cluster cannot be reached, its attempts may be given away. The
// control plane can have stopped what it has given away only if it hears of it.
func TestEverythingIsReportedAgainAfterTheClusterWasUnreachable(t *testing.T) {
	b := start(t, inPlace)
	b.runtime.set(one, runtime.PhaseRunning)
	poll := b.open()
	b.runtime.do(func(f *fakeRuntime) { f.listErr = errBusyCluster })
	poll.answer(good, nil)
	e := b.next()
	b.runtime.do(func(f *fakeRuntime) { f.listErr = nil })
	e.answer(good, nil)
	if e := b.next(); len(e.request.Observations) != 1 || e.request.Observations[0].AttemptRef != ref(one) {
		t.Errorf("reported %+v", e.request.Observations)
	}
}

func TestLogsThatCannotBeShippedAreTriedAgainAfterAPause(t *testing.T) {
	b := start(t, inPlace)
	b.server.archive = errors.New("the bucket is gone")
	b.runtime.set(one, runtime.PhaseSucceeded)
	e := b.open()
	for i := range 5 {
		// Other attempts come meanwhile.
		b.runtime.set(job.AttemptID{Job: "j2", Attempt: 1 + i}, runtime.PhaseRunning)
		<-e.done
		e = b.poll()
	}
	if tries := len(b.runtime.read()); tries != 1 {
		t.Errorf("%d times at one moment", tries)
	}
	b.clock.Step(archivePause)
	e.answer(good, nil)
	b.poll()
	if tries := len(b.runtime.read()); tries != 2 {
		t.Errorf("%d times after the pause", tries)
	}
}

// Each stop takes a moment, and many of them must not cost the lease.
func TestManyStopsLeaveTimeToRenew(t *testing.T) {
	const many = 1000
	b := start(t, inPlace)
	var stops []api.Stop
	for i := range many {
		id := job.AttemptID{Job: job.ID(fmt.Sprintf("j%04d", i)), Attempt: 1}
		b.runtime.set(id, runtime.PhaseRunning)
		stops = append(stops, api.Stop{AttemptRef: ref(id), Reason: "cancel"})
	}
	b.runtime.do(func(f *fakeRuntime) { f.stopping = func() { b.clock.Step(200 * time.Millisecond) } })
	e := b.open()
	before := b.clock.Now()
	e.answer(with(func(r *api.SyncResponse) { r.Stop = stops }), nil)
	for stopped := 0; stopped < many; {
		e = b.next()
		if pause := b.clock.Since(before); pause > 20*time.Second {
			t.Fatalf("%s between two calls, with a trust of %v s", pause, good.TrustSeconds)
		}
		before = b.clock.Now()
		if stopped = len(b.runtime.seen()); stopped == many {
			break
		}
		if e.request.WaitSeconds > 0 {
			t.Fatalf("waits with %d of %d stopped", stopped, many)
		}
		e.answer(good, nil)
	}
}

func TestStopDuringAnApplyFollowsIt(t *testing.T) {
	b := start(t)
	applied := make(chan struct{})
	b.runtime.do(func(f *fakeRuntime) { f.applying = applied })
	b.open().answer(with(func(r *api.SyncResponse) { r.Start = []api.Start{{AttemptRef: ref(one)}} }), nil)
	b.next().answer(with(func(r *api.SyncResponse) { r.Stop = []api.Stop{{AttemptRef: ref(one), Reason: "superseded"}} }), nil)
	poll := b.poll()
	if calls := b.runtime.seen(); slices.Contains(calls, "stop j1.1") {
		t.Fatalf("the runtime saw %v while it applied", calls)
	}
	close(applied)
	<-poll.done
	b.poll().answer(good, nil)
	if calls := b.runtime.seen(); !slices.Equal(calls, []string{"apply j1.1", "stop j1.1"}) {
		t.Errorf("the runtime saw %v", calls)
	}
}

func TestRestlessCapacityIsReportedAtAPace(t *testing.T) {
	b := start(t, inPlace)
	cores := int64(0)
	b.runtime.do(func(f *fakeRuntime) {
		f.restless = func() capacity.Snapshot {
			cores++
			free := capacity.Resources{capacity.CPU: cores}
			return capacity.Snapshot{Nodes: []capacity.NodeShape{{Count: 1, Free: free, Total: free}}}
		}
	})
	e := b.untilItWaits(b.open(), good)
	for range 3 {
		if wait := e.request.WaitSeconds; wait > capacityPause.Seconds() {
			t.Fatalf("waits for %v s with a change to report", wait)
		}
		b.clock.Step(capacityPause)
		e.answer(good, nil)
		e = b.next()
		if e.request.Capacity == nil {
			t.Fatal("the change is not reported after the pause")
		}
		e.answer(good, nil)
		e = b.untilItWaits(b.next(), good)
	}
	// With news of an attempt, the capacity that belongs to it comes at once.
	b.runtime.set(one, runtime.PhaseRunning)
	<-e.done
	if e := b.next(); len(e.request.Observations) != 1 || e.request.Capacity == nil {
		t.Errorf("the call is %+v", e.request)
	}
}

func TestLoneChangeOfTheCapacityEndsThePoll(t *testing.T) {
	b := start(t, inPlace)
	poll := b.open()
	for range 2 {
		// Right after another one it has to wait, but not for the whole poll.
		b.runtime.do(func(f *fakeRuntime) { f.capacity.Nodes = append(f.capacity.Nodes, capacity.NodeShape{Count: 1}) })
		b.runtime.changed <- struct{}{}
		for ended := false; !ended; {
			select {
			case <-poll.done:
				ended = true
			default:
				b.clock.Step(capacityPause / 10)
			}
		}
		e := b.next()
		if e.request.Capacity == nil {
			t.Fatalf("the call is %+v", e.request)
		}
		e.answer(good, nil)
		poll = b.poll()
	}
}

// TestNoRequestIsTooLarge: what the control plane refuses for its size it
// would refuse for ever.
func TestNoRequestIsTooLarge(t *testing.T) {
	const limit = 8 << 20 // of the control plane
	b := start(t, inPlace)
	b.server.archive = errBusyCluster
	poll := b.open()
	b.runtime.do(func(f *fakeRuntime) {
		for i := range 3 * maxObservations {
			id := job.AttemptID{Job: job.ID(fmt.Sprintf("00000000-0000-7000-8000-%012d", i)), Attempt: 1}
			f.held[id] = runtime.Observation{
				ID: id, Incarnation: "here", Phase: runtime.PhaseFailed, Message: strings.Repeat("\x01", 10*maxWords),
			}
		}
	})
	poll.answer(good, nil)
	for reported := 0; reported < 3*maxObservations; {
		e := b.next()
		text, err := json.Marshal(e.request)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) > limit {
			t.Fatalf("a request of %d bytes", len(text))
		}
		if len(e.request.Observations) == 0 {
			t.Fatalf("only %d reported", reported)
		}
		reported += len(e.request.Observations)
		e.answer(good, nil)
	}
}

func TestPollIsShortBesideTheTrust(t *testing.T) {
	b := start(t)
	b.open().answer(with(func(r *api.SyncResponse) { r.TrustSeconds = 6 }), nil)
	if e := b.poll(); e.request.WaitSeconds > 2 {
		t.Errorf("waits for %v s with a trust of 6 s", e.request.WaitSeconds)
	}
}
