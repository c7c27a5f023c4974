package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/utils/clock"
)

// TestMain lets the test binary be gco: for scripts, which run it under that
// name, and for what a gco up in this process starts of itself.
func TestMain(m *testing.M) {
	asGco := func() { os.Exit(New(System()).Run(os.Args[1:])) }
	if len(os.Args) > 1 && slices.Contains([]string{"supervise", "agent"}, os.Args[1]) {
		asGco()
	}
	testscript.Main(m, map[string]func(){"gco": asGco})
}

// TestScripts runs each testdata/script/*.txtar: what a person types, and what
// comes of it. A script that needs a system begins with the command up, which
// runs a gco up of its own in this process.
func TestScripts(t *testing.T) {
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	systems := &systems{running: map[*testscript.TestScript]func(){}}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GCO_CONFIG", filepath.Join(env.WorkDir, "user", "config.yaml"))
			env.Setenv("EXAMPLES", examples)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up":         systems.up,
			"down":       systems.down,
			"exitcode":   exitCodeIs,
			"setfirst":   setFirst,
			"eventually": eventually,
		},
	})
}

// systems holds how to end the gco up of each script.
type systems struct {
	mu      sync.Mutex
	running map[*testscript.TestScript]func()
}

// up runs gco up until the script ends, or until down: up [flags of gco up].
func (s *systems) up(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("up can't be negated")
	}
	lookup := func(name string) (string, bool) { value := ts.Getenv(name); return value, value != "" }
	out, said := &watchedBuffer{until: "Ctrl-C", found: make(chan struct{})}, &watchedBuffer{}
	p := New(Env{
		In: strings.NewReader(""), Out: out, Err: said, Width: 80, Lookup: lookup,
		UserConfigDir: os.UserConfigDir, UserStateDir: os.UserCacheDir,
		Clock: clock.RealClock{}, Executable: os.Executable,
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() {
		ended <- p.RunContext(ctx, append([]string{"up", "--dir", ts.MkAbs("up"), "--listen", "127.0.0.1:0"}, args...))
	}()
	select {
	case <-out.found:
	case code := <-ended:
		stop()
		ts.Fatalf("gco up ended with exit code %d\n%s", code, said)
	case <-time.After(30 * time.Second):
		stop()
		ts.Fatalf("gco up did not come up in 30 s\n%s%s", out, said)
	}
	end := sync.OnceFunc(func() {
		stop()
		if code := <-ended; code != ExitDone {
			ts.Logf("gco up ended with exit code %d\n%s", code, said)
		}
	})
	s.mu.Lock()
	s.running[ts] = end
	s.mu.Unlock()
	ts.Defer(end)
}

// down ends the script's gco up, as Ctrl-C does.
func (s *systems) down(ts *testscript.TestScript, neg bool, args []string) {
	s.mu.Lock()
	end := s.running[ts]
	s.mu.Unlock()
	if neg || len(args) > 0 || end == nil {
		ts.Fatalf("usage: down, after up")
	}
	end()
}

// watchedBuffer closes found once until was written.
type watchedBuffer struct {
	mu    sync.Mutex
	text  bytes.Buffer
	until string
	found chan struct{}
	done  bool
}

func (b *watchedBuffer) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.text.Write(text)
	if b.until != "" && !b.done && strings.Contains(b.text.String(), b.until) {
		b.done = true
		close(b.found)
	}
	return n, err
}

func (b *watchedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// exitCodeIs runs a command that ends with a code: exitcode CODE PROGRAM
// ARGS...
func exitCodeIs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		ended, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = ended.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// setFirst keeps the first line of the last output in a variable: setfirst
// NAME.
func setFirst(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: setfirst NAME")
	}
	line, _, _ := strings.Cut(ts.ReadFile("stdout"), "\n")
	if line == "" {
		ts.Fatalf("the last command printed nothing")
	}
	ts.Setenv(args[0], strings.TrimSpace(line))
}

// eventually runs a command until it succeeds and prints what is wanted, since
// only the outside world says when: eventually PATTERN gco ARGS...
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: eventually TEXT PROGRAM ARGS...")
	}
	const limit, pause = 30 * time.Second, 50 * time.Millisecond
	var last string
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(pause) {
		err := ts.Exec(args[1], args[2:]...)
		last = fmt.Sprintf("%s%s%v", ts.ReadFile("stdout"), ts.ReadFile("stderr"), err)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
	}
	ts.Fatalf("%q was not seen in %s; last:\n%s", args[0], limit, last)
}

// Every example is run by a script, and every configuration is checked by
// one.
func TestEveryExampleHasAScript(t *testing.T) {
	examples, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(examples) < 8 {
		t.Fatalf("examples: %v, %v; want at least 8", examples, err)
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	for _, example := range examples {
		if name := "$EXAMPLES/" + filepath.Base(example); !strings.Contains(all.String(), name) {
			t.Errorf("no script runs %s", name)
		}
	}
}
