package endpoint

import (
	"testing"
	"time"

	"github.com/gco-project/gco/internal/canary"
)

func TestVerdictsAreKeptWithTheirRevision(t *testing.T) {
	e := New("u", "e", Spec{}, "someone", time.Unix(0, 0))
	before := e
	for i := range keepTrials + 3 {
		next, err := e.SetStopped(i%2 == 0, "someone", time.Unix(int64(i), 0))
		if err != nil {
			t.Fatal(err)
		}
		next.Note(1, canary.Verdict{Weight: i}, time.Unix(int64(i), 0))
		e = next
	}
	trials := e.Revisions[0].Trials
	if len(trials) != keepTrials || trials[len(trials)-1].Weight != keepTrials+2 || trials[0].Weight != 3 {
		t.Errorf("%+v", trials)
	}
	if len(before.Revisions[0].Trials) != 0 {
		t.Error("an earlier record has changed")
	}
}

func TestWakeIsAnEdit(t *testing.T) {
	e := New("u", "e", Spec{}, "someone", time.Unix(0, 0))
	woken, err := e.Wake("gco", time.Unix(5, 0))
	if err != nil || woken.Version != 2 || !woken.WokenAt.Equal(time.Unix(5, 0)) || woken.Reason == "" {
		t.Errorf("%+v, %v", woken, err)
	}
	gone, err := e.Delete("someone", time.Unix(6, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Wake("gco", time.Unix(7, 0)); err == nil {
		t.Error("what is being deleted wakes")
	}
}

func TestLoadSumsRequests(t *testing.T) {
	l := Load{Revisions: map[int]canary.Sample{1: {Requests: 3}, 2: {Requests: 4}}}
	if n := l.Requests(); n != 7 {
		t.Errorf("%d requests", n)
	}
}
