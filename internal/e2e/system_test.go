package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

// gco is the binary under test, built once.
var gco string

func TestMain(m *testing.M) {
	os.Exit(dynamotest.Main(func() int { return run(m) }))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gco-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	gco = filepath.Join(dir, "gco")
	build := exec.Command("go", "build", "-o", gco, "github.com/gco-project/gco/cmd/gco")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building gco: %v\n%s", err, output)
		return 1
	}
	return m.Run()
}

// patience bounds every wait of these tests.
const patience = 90 * time.Second

// process is a running gco.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	done chan struct{}
	// said is closed when all output has been read.
	said chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
	lines  chan string
}

// launch starts gco with its own configuration file.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	return launchCommand(t, dir, exec.Command(gco, args...))
}

func launchCommand(t *testing.T, dir string, command *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: command, done: make(chan struct{}), said: make(chan struct{}), lines: make(chan string, 1000)}
	p.cmd.Env = append(os.Environ(), "GCO_CONFIG="+filepath.Join(dir, "config.yaml"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	go p.read(reader)
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("%s printed:\n%s", command, p.output.String())
		}
	})
	return p
}

func (p *process) read(from *os.File) {
	defer close(p.said)
	defer from.Close()
	scanner := bufio.NewScanner(from)
	for scanner.Scan() {
		p.mu.Lock()
		fmt.Fprintln(&p.output, scanner.Text())
		p.mu.Unlock()
		select {
		case p.lines <- scanner.Text():
		default:
		}
	}
}

// kill ends the process at once, and whatever it started in its group.
func (p *process) kill() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.done
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	for _, ended := range []chan struct{}{p.done, p.said} {
		select {
		case <-ended:
		case <-time.After(patience):
			p.t.Fatal("gco does not end")
		}
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// expect waits for a line of output that matches, and returns its groups.
func (p *process) expect(pattern string) []string {
	p.t.Helper()
	expression := regexp.MustCompile(pattern)
	timeout := time.After(patience)
	for {
		select {
		case line := <-p.lines:
			if groups := expression.FindStringSubmatch(line); groups != nil {
				return groups
			}
		case <-p.done:
			p.t.Fatalf("gco ended before it said %q:\n%s", pattern, p.text())
		case <-timeout:
			p.t.Fatalf("gco did not say %q:\n%s", pattern, p.text())
		}
	}
}

// system is a whole gco up.
type system struct {
	*process
	dir    string
	addr   string
	client *client.Client
}

func up(t *testing.T, dir string, args ...string) *system {
	t.Helper()
	s := &system{dir: dir}
	s.process = launch(t, dir, append([]string{"up", "--dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0"}, args...)...)
	s.addr = s.expect(`up at (http://[^ ]+)`)[1]
	token, err := os.ReadFile(s.expect(`^ *token +([^ ]+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	s.client, err = client.New(s.addr, strings.TrimSpace(string(token)), client.WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.client.Close)
	t.Cleanup(s.killSupervisors)
	return s
}

// killSupervisors ends what outlives gco by design.
func (s *system) killSupervisors() {
	for _, pid := range pids() {
		if line := commandLine(pid); strings.Contains(line, s.dir) && strings.Contains(line, "supervise") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// commandLine is a process's command, its words parted by blanks.
func commandLine(pid int) string {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	return string(bytes.ReplaceAll(line, []byte{0}, []byte{' '}))
}

// script is a job of one container that runs a shell script.
func script(name, text string) api.Submission {
	return api.Submission{Manifest: fmt.Appendf(nil, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":%q},
		"spec":{"backoffLimit":0,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"main",
		"image":"busybox:1.36","command":["/bin/sh","-c",%q],"resources":{"requests":{"cpu":"100m"}}}]}}}}`, name, text)}
}

func (s *system) submit(submission api.Submission) api.Job {
	s.t.Helper()
	job, _, err := s.client.Submit(s.t.Context(), submission, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return job
}

// until asks for the job over and over until it is as wanted. The API's event
// stream ends with a killed server, so these tests ask.
func (s *system) until(id, what string, wanted func(api.Job) bool) api.Job {
	s.t.Helper()
	return until(s.t, s.client, id, what, wanted)
}

func until(t *testing.T, c *client.Client, id, what string, wanted func(api.Job) bool) api.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last api.Job
	for {
		job, err := c.Job(ctx, id)
		if err == nil && wanted(job) {
			return job
		}
		if err == nil {
			last = job
		}
		if ctx.Err() != nil {
			t.Fatalf("job %s is not %s: %s in %s on attempt %d (%s %s), last error %v", id, what, last.State, last.Region, last.Attempt, last.Reason, last.Message, err)
		}
		pause(10 * time.Millisecond)
	}
}

// pause waits for the operating system, which sends no signal for what these
// tests look at.
func pause(d time.Duration) { <-time.After(d) }

func inState(states ...string) func(api.Job) bool {
	return func(j api.Job) bool {
		return slices.Contains(states, j.State)
	}
}

var finished = inState("succeeded", "failed", "cancelled")

// pids lists the processes of this host.
func pids() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			list = append(list, pid)
		}
	}
	return list
}

// running maps the attempt number of a job to the processes that carry it in
// their environment.
func running(id string) map[string][]int {
	found := map[string][]int{}
	for _, pid := range pids() {
		environment, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil || !bytes.Contains(environment, []byte("GCO_JOB_ID="+id)) {
			continue
		}
		for variable := range strings.SplitSeq(string(environment), "\x00") {
			if attempt, ok := strings.CutPrefix(variable, "GCO_ATTEMPT="); ok && alive(pid) {
				found[attempt] = append(found[attempt], pid)
			}
		}
	}
	return found
}

// alive tells whether the process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, ok := bytes.Cut(stat, []byte(") "))
	return ok && rest[0] != 'Z' && rest[0] != 'X'
}

// watchdog samples a job's processes until stopped, and fails the test when
// two attempts are alive at once.
func watchdog(t *testing.T, id string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		samples := 0
		for ctx.Err() == nil {
			samples++
			if found := running(id); len(found) > 1 {
				done <- fmt.Errorf("two attempts of job %s at once: %v", id, found)
				return
			}
			pause(10 * time.Millisecond)
		}
		if samples < 10 {
			done <- errors.New("the watchdog hardly looked")
			return
		}
		done <- nil
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
