package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/agent"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

func TestLogForPeopleAndForMachines(t *testing.T) {
	for _, test := range []struct {
		terminal bool
		log      config.Log
		level    slog.Level
		want     string
	}{
		{true, config.Log{Level: "auto", Format: "auto"}, slog.LevelInfo, "level=INFO msg=hello"},
		{false, config.Log{Level: "auto", Format: "auto"}, slog.LevelInfo, `"msg":"hello"`},
		{false, config.Log{Level: "auto", Format: "text"}, slog.LevelInfo, "msg=hello"},
		{true, config.Log{Level: "auto", Format: "json"}, slog.LevelInfo, `"msg":"hello"`},
		{true, config.Log{Level: "auto", Format: "auto"}, slog.LevelWarn, ""},
		{true, config.Log{Level: "info", Format: "auto"}, slog.LevelWarn, "msg=hello"},
		{true, config.Log{Level: "error", Format: "auto"}, slog.LevelDebug, ""},
	} {
		var out bytes.Buffer
		NewLog(LogOptions{Out: &out, Terminal: test.terminal, Log: test.log, Level: test.level}).Info("hello")
		if got := out.String(); !strings.Contains(got, test.want) || (test.want == "") != (got == "") {
			t.Errorf("%+v: %q, want %q", test, got, test.want)
		}
	}
}

func TestDebugListensOnLoopbackOnly(t *testing.T) {
	if err := Debug(t.Context(), "0.0.0.0:0"); err == nil || !strings.Contains(err.Error(), "loopback only") {
		t.Errorf("Debug on every address: %v, want a refusal", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Debug(ctx, "127.0.0.1:0"); err != nil {
		t.Errorf("Debug of a context that has ended: %v", err)
	}
}

// remoteTo is an agent's view of a server that always answers the same.
func remoteTo(t *testing.T, problem api.Problem, seen func(*http.Request)) remote {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen != nil {
			seen(r)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		if problem.Status == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(problem.Status)
		_, _ = io.WriteString(w, `{"type":"`+problem.Type+`","title":"x"}`)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(server.URL, "", client.WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	return remote{c}
}

func TestRemoteTellsWhatAnAgentDecidesOn(t *testing.T) {
	for _, test := range []struct {
		problem api.Problem
		sync    error
		other   error
	}{
		{api.Problem{Status: 409, Type: api.ProblemStaleSession}, agent.ErrStaleSession, nil},
		{api.Problem{Status: 409, Type: api.ProblemOtherCluster}, agent.ErrOtherCluster, nil},
		{api.Problem{Status: 404, Type: api.ProblemNotFound}, nil, agent.ErrGone},
		{api.Problem{Status: 410, Type: api.ProblemGone}, nil, agent.ErrGone},
		{api.Problem{Status: 500, Type: api.ProblemInternal}, nil, nil},
		// A proxy in between, which knows nothing of jobs.
		{api.Problem{Status: 404, Type: "about:blank"}, nil, nil},
		{api.Problem{Status: 410, Type: "about:blank"}, nil, nil},
	} {
		r := remoteTo(t, test.problem, nil)
		_, syncErr := r.Sync(t.Context(), "here", api.SyncRequest{})
		archiveErr := r.ArchiveLogs(t.Context(), "here", api.AttemptRef{JobID: "a", Attempt: 1}, strings.NewReader("x"))
		answerErr := r.Answer(t.Context(), "here", api.Request{ID: "q", Kind: "logs"}, strings.NewReader("x"), nil)
		if syncErr == nil || archiveErr == nil || answerErr == nil {
			t.Fatalf("%s: an error was swallowed: %v, %v, %v", test.problem.Type, syncErr, archiveErr, answerErr)
		}
		for _, kind := range []error{agent.ErrStaleSession, agent.ErrOtherCluster, agent.ErrGone} {
			if got, want := errors.Is(syncErr, kind), errors.Is(test.sync, kind); got != want {
				t.Errorf("%s: Sync is %q: %v, want %v", test.problem.Type, kind, got, want)
			}
			for _, err := range []error{archiveErr, answerErr} {
				if got, want := errors.Is(err, kind), errors.Is(test.other, kind); got != want {
					t.Errorf("%s: %v is %q: %v, want %v", test.problem.Type, err, kind, got, want)
				}
			}
		}
	}
}

func TestRemoteAnswersInTheRightForm(t *testing.T) {
	for _, test := range []struct {
		kind    string
		refused error
		want    string
	}{
		{"logs", nil, client.TypeText},
		{"pods", nil, client.TypeJSON},
		{"events", nil, client.TypeJSON},
		{"logs", runtime.ErrNotFound, client.TypeProblem},
		{"pods", errors.New("broken"), client.TypeProblem},
	} {
		var got string
		r := remoteTo(t, api.Problem{}, func(request *http.Request) { got = request.Header.Get("Content-Type") })
		if err := r.Answer(t.Context(), "here", api.Request{ID: "q", Kind: test.kind}, strings.NewReader("[]"), test.refused); err != nil {
			t.Fatal(err)
		}
		if got != test.want {
			t.Errorf("%s, refused %v: content type %q, want %q", test.kind, test.refused, got, test.want)
		}
	}
}

func TestProblemOfWhatARegionRefuses(t *testing.T) {
	if p := problemOf(runtime.ErrNotFound); p.Status != http.StatusNotFound || p.Type != api.ProblemNotHeld {
		t.Errorf("not held: %+v", p)
	}
	missing := fmt.Errorf("logs: %w", &runtime.NoContainer{Container: "nope", Have: []string{"init", "main"}})
	if p := problemOf(missing); p.Status != http.StatusNotFound || p.Type != api.ProblemNotFound ||
		!strings.Contains(p.Detail, `"nope"`) || !strings.Contains(p.Detail, "init, main") {
		t.Errorf("no such container: %+v", p)
	}
	if p := problemOf(errors.New("disk")); p.Status != http.StatusInternalServerError || p.Detail != "disk" {
		t.Errorf("other: %+v", p)
	}
}

// planeOptions are those of a control plane in a directory of its own.
func planeOptions(t *testing.T) ControlPlaneOptions {
	t.Helper()
	c := config.Default()
	c.Server.Listen = "127.0.0.1:0"
	c.Timing = c.Timing.Or(config.TimingOnLaptop)
	return ControlPlaneOptions{
		Config: c, Dir: t.TempDir(), Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	}
}

func TestControlPlaneMakesItsAdminTokenOnce(t *testing.T) {
	options := planeOptions(t)
	var secrets []string
	for range 2 {
		plane, err := OpenControlPlane(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(plane.AdminTokenFile)
		if err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, string(text))
		info, err := os.Stat(plane.AdminTokenFile)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of the admin token: %v, %v; want 0600", info.Mode(), err)
		}
		if err := plane.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if secrets[0] != secrets[1] || !strings.HasPrefix(secrets[0], "gco_") {
		t.Errorf("secrets of two starts: %q", secrets)
	}

	// A file that its operator took away stays away, unless it is to be renewed.
	file := filepath.Join(options.Dir, adminFile)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for _, renew := range []bool{false, true} {
		options.RenewAdmin = renew
		plane, err := OpenControlPlane(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); (err == nil) != renew {
			t.Errorf("renew %v: the admin token's file: %v", renew, err)
		}
		if err := plane.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestControlPlaneRefusesWhatIsTaken(t *testing.T) {
	options := planeOptions(t)
	plane, err := OpenControlPlane(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plane.Close(); err != nil {
			t.Error(err)
		}
	}()

	if _, err := OpenControlPlane(t.Context(), options); err == nil || !strings.Contains(err.Error(), "gco.db") {
		t.Errorf("a second one on the same database: %v, want an error that names it", err)
	}
	other := planeOptions(t)
	other.Config.Server.Listen = strings.TrimPrefix(plane.URL, "http://")
	if _, err := OpenControlPlane(t.Context(), other); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second one on the same port: %v, want EADDRINUSE", err)
	}
}

func TestControlPlaneRunsUntilItsContextEnds(t *testing.T) {
	plane, err := OpenControlPlane(t.Context(), planeOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- plane.Run(ctx) }()
	c, err := client.New(plane.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestPrunedJobsTakeWhatIsKeptOfThem(t *testing.T) {
	plane, err := OpenControlPlane(t.Context(), planeOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plane.Close(); err != nil {
			t.Error(err)
		}
	}()
	id := job.AttemptID{Job: job.NewID(), Attempt: 1}
	if _, err := plane.archive.Put(t.Context(), id, strings.NewReader("x\n"), false); err != nil {
		t.Fatal(err)
	}
	var told []job.ID
	plane.pruned(func(ids []job.ID) { told = ids })(t.Context(), []job.ID{id.Job})
	if _, err := plane.archive.Stat(t.Context(), id); err == nil {
		t.Error("the archived logs are still there")
	}
	if len(told) != 1 || told[0] != id.Job {
		t.Errorf("told of %v, want %s", told, id.Job)
	}
}

func TestReachable(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:80": "127.0.0.1:80",
		"0.0.0.0:80":   "127.0.0.1:80",
		"[::]:80":      "127.0.0.1:80",
		"[::1]:80":     "[::1]:80",
	} {
		at, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := reachable(at); got != want {
			t.Errorf("reachable(%s) = %s, want %s", address, got, want)
		}
	}
}
