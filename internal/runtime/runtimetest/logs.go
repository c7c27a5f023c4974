package runtimetest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

func (s *suite) read(id job.AttemptID, options runtime.LogOptions) string {
	s.Helper()
	stream, err := s.runtime.Logs(s.Context(), id, options)
	if err != nil {
		s.Fatalf("reading logs: %v", err)
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		s.Fatalf("reading logs: %v", err)
	}
	return string(text)
}

func (s *suite) logs() {
	a := s.apply(Program{Lines: []string{"one", "two", "three"}})
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	for range 2 {
		if got := s.read(a.ID, runtime.LogOptions{}); got != "one\ntwo\nthree\n" {
			s.Errorf("logs are %q", got)
		}
		s.crash()
	}
}

func (s *suite) logsOfPart() {
	started := time.Now().Add(-time.Minute)
	a := s.apply(Program{Lines: []string{"one", "two", "three"}})
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	for _, test := range []struct {
		name    string
		options runtime.LogOptions
		want    string
	}{
		{"tail", runtime.LogOptions{Tail: 2}, "two\nthree\n"},
		{"more than there is", runtime.LogOptions{Tail: 9}, "one\ntwo\nthree\n"},
		{"container", runtime.LogOptions{Container: "main", Tail: 1}, "three\n"},
		{"since before", runtime.LogOptions{Since: started}, "one\ntwo\nthree\n"},
		{"since after", runtime.LogOptions{Since: time.Now().Add(time.Hour)}, ""},
		{"follow what has ended", runtime.LogOptions{Follow: true, Tail: 1}, "three\n"},
	} {
		if got := s.read(a.ID, test.options); got != test.want {
			s.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	line := s.read(a.ID, runtime.LogOptions{Timestamps: true, Tail: 1})
	stamp, text, _ := strings.Cut(line, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil || text != "three\n" || at.Before(started) || at.After(time.Now().Add(time.Minute)) {
		s.Errorf("with timestamp: %q (%v)", line, err)
	}
}

func (s *suite) logsFollow() {
	a := s.apply(Program{Lines: []string{"one", "two"}, Hold: true})
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	stream, err := s.runtime.Logs(ctx, a.ID, runtime.LogOptions{Follow: true})
	if err != nil {
		s.Fatalf("following logs: %v", err)
	}
	defer stream.Close()
	lines := bufio.NewScanner(stream)
	for _, want := range []string{"one", "two"} {
		if !lines.Scan() || lines.Text() != want {
			s.Fatalf("followed %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
	s.fixture.Release(s.T, a.ID)
	for lines.Scan() {
		s.Errorf("followed %q after the last line", lines.Text())
	}
	if lines.Err() != nil {
		s.Errorf("at the end of the attempt: %v", lines.Err())
	}
	if o, _ := s.find(a.ID); !o.Phase.Terminal() {
		s.Errorf("the log ended while the attempt is %s", o.Phase)
	}

	// One that nobody ends, until the reader does.
	b := s.apply(Program{Hold: true})
	ctx, cancel = context.WithCancel(s.Context())
	stream, err = s.runtime.Logs(ctx, b.ID, runtime.LogOptions{Follow: true})
	if err != nil {
		s.Fatalf("following logs: %v", err)
	}
	defer stream.Close()
	cancel()
	if _, err := io.ReadAll(stream); err == nil {
		s.Error("a cancelled log ended as if it were complete")
	}
}

func (s *suite) logsUnknown() {
	a := s.apply(Program{})
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	for _, test := range []struct {
		id        job.AttemptID
		container string
	}{{job.AttemptID{Job: a.ID.Job, Attempt: 2}, ""}, {a.ID, "nobody"}} {
		_, err := s.runtime.Logs(s.Context(), test.id, runtime.LogOptions{Container: test.container})
		if !errors.Is(err, runtime.ErrNotFound) {
			s.Errorf("logs of container %q of %v: %v, want ErrNotFound", test.container, test.id, err)
		}
		missing, ok := errors.AsType[*runtime.NoContainer](err)
		if ok != (test.container != "") || ok && len(missing.Have) == 0 {
			s.Errorf("logs of container %q of %v: %v; the containers there are expected where one was asked for", test.container, test.id, err)
		}
	}
}

func (s *suite) pods() {
	a := s.apply(Program{Hold: true, Exit: 4})
	s.awaitPhase(a.ID, runtime.PhaseRunning)
	s.fixture.AwaitRunning(s.T, a.ID, 1)
	running := s.onePod(a.ID)
	if running.Phase != "Running" || running.Node == "" || running.Containers[0].State != "running" || running.StartedAt.IsZero() {
		s.Errorf("while it runs: %+v", running)
	}
	s.fixture.Release(s.T, a.ID)
	s.awaitPhase(a.ID, runtime.PhaseFailed)
	ended := s.onePod(a.ID)
	c := ended.Containers[0]
	if ended.Phase != "Failed" || ended.Name != running.Name || c.State != "terminated" || c.ExitCode == nil || *c.ExitCode != 4 {
		s.Errorf("after its end: %+v", ended)
	}
	if _, err := s.runtime.Pods(s.Context(), job.AttemptID{Job: job.NewID()}); !errors.Is(err, runtime.ErrNotFound) {
		s.Errorf("pods of an unknown attempt: %v, want ErrNotFound", err)
	}
}

func (s *suite) onePod(id job.AttemptID) runtime.Pod {
	s.Helper()
	pods, err := s.runtime.Pods(s.Context(), id)
	if err != nil || len(pods) != 1 || len(pods[0].Containers) != 1 || pods[0].Containers[0].Name != "main" {
		s.Fatalf("pods %+v (%v), want one with container main", pods, err)
	}
	return pods[0]
}

func (s *suite) events() {
	a := s.apply(Program{})
	s.awaitPhase(a.ID, runtime.PhaseSucceeded)
	events, err := s.runtime.ClusterEvents(s.Context(), a.ID)
	if err != nil || len(events) == 0 {
		s.Fatalf("events %v (%v), want some", events, err)
	}
	for i, event := range events {
		if event.Reason == "" || event.Object == "" || event.Message == "" || event.At.IsZero() || event.Count < 1 {
			s.Errorf("incomplete event %+v", event)
		}
		if i > 0 && event.At.Before(events[i-1].At) {
			s.Errorf("event %d is older than the one before it", i)
		}
	}
	if _, err := s.runtime.ClusterEvents(s.Context(), job.AttemptID{Job: job.NewID()}); !errors.Is(err, runtime.ErrNotFound) {
		s.Errorf("events of an unknown attempt: %v, want ErrNotFound", err)
	}
}
