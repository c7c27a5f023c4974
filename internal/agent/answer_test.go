package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/runtime"
)

// ended brings an attempt to its end, and returns the call that says so.
func (b *bench) ended() exchange {
	b.t.Helper()
	poll := b.open()
	b.runtime.set(one, runtime.PhaseSucceeded)
	<-poll.done
	e := b.next()
	if len(e.request.Observations) != 1 {
		b.t.Fatalf("the call says %+v, want the end of the attempt", e.request.Observations)
	}
	return e
}

func asking(id string) api.SyncResponse {
	return with(func(r *api.SyncResponse) { r.Requests = []api.Request{{ID: id, Kind: "logs", AttemptRef: ref(one)}} })
}

func (b *bench) forgot() bool { return slices.Contains(b.runtime.seen(), "forget j1.1") }

func TestAttemptIsNotForgottenWhileItsLogsAreRead(t *testing.T) {
	b := start(t)
	b.server.reading = make(chan struct{})
	// The question comes in the same answer that lets the attempt go, and
	// another one after its logs were shipped.
	b.ended().answer(asking("q1"), nil)
	<-b.server.archived
	b.poll().answer(asking("q2"), nil)
	b.poll().answer(good, nil)
	b.server.reading <- struct{}{}
	if got := <-b.server.answers; !strings.HasSuffix(got, ": hello\n") {
		t.Errorf("the answer is %q", got)
	}
	b.poll().answer(good, nil)
	if b.forgot() {
		t.Fatal("the attempt was forgotten while a client read its logs")
	}
	b.server.reading <- struct{}{}
	<-b.server.answers
	for !b.forgot() {
		b.poll().answer(good, nil)
	}
	if len(b.server.archived) > 0 {
		t.Error("the logs were shipped twice")
	}
}

// Who asks when the runtime has begun to forget would see a part of it only.
func TestAttemptThatIsBeingForgottenIsNotHere(t *testing.T) {
	b := start(t)
	b.runtime.forgetting = make(chan struct{})
	b.ended().answer(good, nil)
	<-b.server.archived
	for asked := false; !asked; {
		e := b.poll()
		b.runtime.mu.Lock()
		reads := len(b.runtime.reads)
		b.runtime.mu.Unlock()
		e.answer(asking("q"), nil)
		got := <-b.server.answers
		if asked = got == "q: "+runtime.ErrNotFound.Error(); !asked && (got != "q: hello\n" || reads == 0) {
			t.Fatalf("the answer is %q", got)
		}
	}
	<-b.runtime.forgetting
	for !b.forgot() {
		b.poll().answer(good, nil)
	}
}
