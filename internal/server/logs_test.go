package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/joblog"
)

// runningJob brings a job to run in the region.
func (s *system) runningJob(a *agent) (api.Job, api.AttemptRef) {
	s.t.Helper()
	j := s.submit()
	ref := a.claim()
	a.report(ref, "applied", "running")
	return j, ref
}

func TestLiveLogsFlowAsTheyCome(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, _ := s.runningJob(a)
	body, write := io.Pipe()
	answered := make(chan error, 1)
	go func() { answered <- a.answerNext(client.TypeText, body) }()

	logs, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if logs.Source != "live" || logs.Attempt != 1 {
		t.Errorf("%s logs of attempt %d", logs.Source, logs.Attempt)
	}
	for _, line := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(write, line); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 100)
		if n, err := logs.Read(buffer); string(buffer[:n]) != line {
			t.Fatalf("read %q, %v", buffer[:n], err)
		}
	}
	write.Close()
	if rest, err := io.ReadAll(logs); err != nil || len(rest) > 0 {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the agent was answered %v", err)
	}
}

func TestLogOptionsReachTheAgent(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, ref := s.runningJob(a)
	since := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
	seen := make(chan api.Request, 1)
	go func() {
		for {
			r, err := a.trySync(api.SyncRequest{WaitSeconds: 3})
			if err != nil {
				t.Error(err)
				return
			}
			if len(r.Requests) > 0 {
				seen <- r.Requests[0]
				_ = a.Answer(context.Background(), testRegion, r.Requests[0], client.TypeText, strings.NewReader("x\n"))
				return
			}
		}
	}()
	logs, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{Attempt: 1, Container: "main", Tail: 5, Since: since, Timestamps: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	request := <-seen
	if o := request.Logs; request.Kind != "logs" || request.AttemptRef != ref || o == nil || o.Container != "main" || o.Tail != 5 ||
		!o.Since.Equal(since) || !o.Timestamps || o.Follow {
		t.Errorf("request %+v with %+v", request, request.Logs)
	}
}

func TestLiveLogsEndWithEitherEnd(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, _ := s.runningJob(a)

	// The client leaves: the agent's call ends, though it has nothing to send.
	body, _ := io.Pipe()
	answered := make(chan error, 1)
	go func() { answered <- a.answerNext(client.TypeText, body) }()
	logs, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	logs.Close()
	select {
	case err := <-answered:
		if err == nil {
			t.Error("the agent was told that the client has it all")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the agent's call did not end")
	}

	// The agent breaks off: the client's stream must not look whole.
	body, write := io.Pipe()
	go func() { answered <- a.answerNext(client.TypeText, body) }()
	if logs, err = s.admin.Logs(t.Context(), j.ID, client.LogOptions{}); err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	_, _ = io.WriteString(write, "half a li")
	write.CloseWithError(errors.New("the agent was killed"))
	if text, err := io.ReadAll(logs); err == nil {
		t.Errorf("read %q to a proper end", text)
	}
	<-answered

	// The server stops: both end.
	body, _ = io.Pipe()
	go func() { answered <- a.answerNext(client.TypeText, body) }()
	if logs, err = s.admin.Logs(t.Context(), j.ID, client.LogOptions{}); err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	begin := time.Now()
	s.stop()
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if _, err := io.ReadAll(logs); err == nil {
		t.Error("the client's stream had a proper end")
	}
	<-answered
}

func TestArchivedLogs(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, ref := s.runningJob(a)
	a.report(ref, "succeeded")
	text := "2026-03-01T10:00:00Z hello-0/main one\n2026-03-01T10:00:01Z hello-0/main two\n"
	if err := a.ArchiveLogs(t.Context(), testRegion, ref, false, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if done, err := s.admin.Job(t.Context(), j.ID); err != nil || done.Logs != "archived" {
		t.Errorf("logs %s, %v", done.Logs, err)
	}
	readAll := func(options client.LogOptions) string {
		logs, err := s.admin.Logs(t.Context(), j.ID, options)
		if err != nil {
			t.Fatal(err)
		}
		defer logs.Close()
		if logs.Source != "archived" {
			t.Errorf("source %s", logs.Source)
		}
		got, err := io.ReadAll(logs)
		if err != nil {
			t.Error(err)
		}
		return string(got)
	}
	if got := readAll(client.LogOptions{Follow: true}); got != "one\ntwo\n" {
		t.Errorf("all: %q", got)
	}
	if got := readAll(client.LogOptions{Tail: 1, Timestamps: true}); got != "2026-03-01T10:00:01Z two\n" {
		t.Errorf("tail: %q", got)
	}
	if got := readAll(client.LogOptions{Since: time.Date(2026, 3, 1, 10, 0, 1, 0, time.UTC)}); got != "two\n" {
		t.Errorf("since: %q", got)
	}

	_, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{Container: "nope"})
	if !client.Is(err, api.ProblemNotFound) || !strings.Contains(err.Error(), `"nope"`) || !strings.Contains(err.Error(), "main") {
		t.Errorf("of a container that is not there: %v", err)
	}

	// Sent again, and partial this time.
	if err := a.ArchiveLogs(t.Context(), testRegion, ref, true, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if done, err := s.admin.Job(t.Context(), j.ID); err != nil || done.Logs != "partial" {
		t.Errorf("logs %s, %v", done.Logs, err)
	}
	other := api.AttemptRef{JobID: ref.JobID, Attempt: 2}
	if err := a.ArchiveLogs(t.Context(), testRegion, other, false, strings.NewReader("")); client.Status(err) != 404 {
		t.Errorf("an attempt that never was: %v", err)
	}
}

// TestLogsOfAJobThatIsDeletedMeanwhile: nobody would ever find them again.
func TestLogsOfAJobThatIsDeletedMeanwhile(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, ref := s.runningJob(a)
	a.report(ref, "succeeded")
	body, lines := io.Pipe()
	shipped := make(chan error)
	go func() { shipped <- a.ArchiveLogs(t.Context(), testRegion, ref, false, body) }()
	// More than the connection holds, so the server takes the logs in when all
	// is written.
	if _, err := io.WriteString(lines, strings.Repeat("2026-03-01T10:00:00Z p/c one\n", 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := s.admin.DeleteJob(t.Context(), j.ID); err != nil {
		t.Fatal(err)
	}
	if err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-shipped; client.Status(err) != 404 {
		t.Errorf("shipping: %v", err)
	}
	if _, err := s.archive.Stat(t.Context(), job.AttemptID{Job: job.ID(j.ID), Attempt: ref.Attempt}); !errors.Is(err, joblog.ErrNotFound) {
		t.Errorf("the archive says %v", err)
	}
}

func TestArchivedLogsThatAreDamaged(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, ref := s.runningJob(a)
	a.report(ref, "succeeded")
	if err := a.ArchiveLogs(t.Context(), testRegion, ref, false, strings.NewReader("2026-03-01T10:00:00Z p/c one\n")); err != nil {
		t.Fatal(err)
	}
	s.damage(ref)
	logs, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{})
	if err == nil {
		_, err = io.ReadAll(logs)
		logs.Close()
	}
	if err == nil {
		t.Error("damaged logs were served as if they were whole")
	}
}

func TestLiveLogsOfNoContainer(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, _ := s.runningJob(a)
	told, err := json.Marshal(api.Problem{Type: api.ProblemNotFound, Title: "x", Status: 404, Detail: `no container "nope"; there are: main`})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- a.answerNext(client.TypeProblem, strings.NewReader(string(told))) }()
	_, err = s.admin.Logs(t.Context(), j.ID, client.LogOptions{Container: "nope"})
	if !client.Is(err, api.ProblemNotFound) || !strings.Contains(err.Error(), "there are: main") {
		t.Errorf("logs of no container: %v", err)
	}
	<-done
}

func TestLogsThatAreNotThere(t *testing.T) {
	s := start(t, func(o *setUp) { o.wait = 50 * time.Millisecond })
	j := s.submit()
	if _, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{}); !client.Is(err, api.ProblemNoLogs) {
		t.Errorf("of a queued job: %v", err)
	}
	if pods, err := s.admin.Pods(t.Context(), j.ID); err != nil || pods.Items == nil || len(pods.Items) != 0 {
		t.Errorf("pods of a queued job: %+v, %v", pods, err)
	}
	a := s.openRegion(testRegion)
	ref := a.claim()
	if _, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{}); !client.Is(err, api.ProblemNoLogs) {
		t.Errorf("of a claimed job: %v", err)
	}
	a.report(ref, "running")
	if _, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{}); !client.Is(err, api.ProblemRegionSilent) {
		t.Errorf("of a region whose agent is silent: %v", err)
	}
	if _, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{Attempt: 2}); !client.Is(err, api.ProblemNoLogs) {
		t.Errorf("of an attempt to come: %v", err)
	}
	a.report(ref, "lost")
	if _, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{Attempt: 1}); !client.Is(err, api.ProblemGone) {
		t.Errorf("of a lost attempt: %v", err)
	}
}

// An attempt that failed is the job's no more, but its region has the logs
// until it has shipped them.
func TestLogsOfAnAttemptThatIsOver(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	retries := 1
	j := s.submit(func(sub *api.Submission) { sub.Retries = &retries })
	ref := a.claim()
	a.report(ref, "running", "failed")
	if queued, err := s.admin.Job(t.Context(), j.ID); err != nil || queued.State != "queued" || queued.Region != "" {
		t.Fatalf("the job is %s in %q, %v", queued.State, queued.Region, err)
	}
	answered := make(chan error, 1)
	go func() { answered <- a.answerNext(client.TypeText, strings.NewReader("one\n")) }()
	logs, err := s.admin.Logs(t.Context(), j.ID, client.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if text, err := io.ReadAll(logs); string(text) != "one\n" || err != nil || logs.Source != "live" {
		t.Errorf("read %q from %s, %v", text, logs.Source, err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestPodsAndClusterEvents(t *testing.T) {
	s := start(t)
	a := s.openRegion(testRegion)
	j, _ := s.runningJob(a)
	answer := func(contentType, body string) chan error {
		done := make(chan error, 1)
		go func() { done <- a.answerNext(contentType, strings.NewReader(body)) }()
		return done
	}
	done := answer(client.TypeJSON, `[{"name":"hello-0","attempt":1,"phase":"Running","containers":[{"name":"main","state":"running","restarts":0}]}]`)
	pods, err := s.admin.Pods(t.Context(), j.ID)
	if err != nil || len(pods.Items) != 1 || pods.Items[0].Containers[0].State != "running" {
		t.Errorf("pods %+v, %v", pods, err)
	}
	if err := <-done; err != nil {
		t.Errorf("the agent was answered %v", err)
	}
	done = answer(client.TypeJSON, `[{"at":"2026-03-01T10:00:00Z","type":"Normal","reason":"Started","message":"started main"}]`)
	events, err := s.admin.ClusterEvents(t.Context(), j.ID)
	if err != nil || len(events.Items) != 1 || events.Items[0].Reason != "Started" {
		t.Errorf("events %+v, %v", events, err)
	}
	<-done
	problem, _ := json.Marshal(api.Problem{Type: api.ProblemNotHeld, Title: "x", Status: 404, Detail: "no such attempt"})
	done = answer(client.TypeProblem, string(problem))
	if _, err := s.admin.Pods(t.Context(), j.ID); !client.Is(err, api.ProblemNotHeld) || !strings.Contains(err.Error(), "known only while") {
		t.Errorf("pods that are not held: %v", err)
	}
	<-done
	done = answer(client.TypeJSON, `[{"name":`)
	if _, err := s.admin.Pods(t.Context(), j.ID); !client.Is(err, api.ProblemRegionSilent) {
		t.Errorf("half an answer: %v", err)
	}
	<-done
	if err := a.Answer(t.Context(), testRegion, api.Request{ID: "unknown"}, client.TypeText, strings.NewReader("x")); client.Status(err) != 404 {
		t.Errorf("an answer that nobody asked for: %v", err)
	}
}

// damage changes a byte in the archive of an attempt.
func (s *system) damage(ref api.AttemptRef) {
	s.t.Helper()
	var found string
	_ = filepath.WalkDir(s.logDir, func(path string, entry os.DirEntry, _ error) error {
		if strings.Contains(path, ref.JobID) {
			found = path
		}
		return nil
	})
	text, err := os.ReadFile(found)
	if err != nil {
		s.t.Fatal(err)
	}
	text[len("2026-03-01T10:00:00Z p/c ")] ^= 1
	if err := os.WriteFile(found, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.archive.Stat(s.t.Context(), job.AttemptID{Job: job.ID(ref.JobID), Attempt: ref.Attempt}); err != nil {
		s.t.Fatal(err)
	}
}
