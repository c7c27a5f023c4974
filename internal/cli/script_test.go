package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
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
)

// TestMain lets the test binary be gco: for scripts, which run it under that
// name, and for what a gco up in this process starts of itself.
func TestMain(m *testing.M) {
	asGco := func() { os.Exit(New(System()).Run(os.Args[1:])) }
	if len(os.Args) > 1 && slices.Contains([]string{"supervise", "agent", "sample"}, os.Args[1]) {
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
	systems := &systems{
		running: map[*testscript.TestScript]func(){}, said: map[*testscript.TestScript]fmt.Stringer{},
	}
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
			"up":          systems.up,
			"down":        systems.down,
			"exitcode":    exitCodeIs,
			"setfirst":    setFirst,
			"eventually":  eventually,
			"freeport":    freePort,
			"agentpid":    systems.agentPID,
			"certificate": certificate,
		},
	})
}

// systems holds how to end the gco up of each script.
type systems struct {
	mu      sync.Mutex
	running map[*testscript.TestScript]func()
	said    map[*testscript.TestScript]fmt.Stringer
}

// up runs gco up until the script ends, or until down: up [flags of gco up].
func (s *systems) up(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("up can't be negated")
	}
	lookup := func(name string) (string, bool) { value := ts.Getenv(name); return value, value != "" }
	running, err := startSystem(envFor(lookup, nil, nil), ts.MkAbs("."), args)
	ts.Check(err)
	end := sync.OnceFunc(func() {
		if err := running.end(); err != nil {
			ts.Logf("%v", err)
		}
	})
	s.mu.Lock()
	s.running[ts], s.said[ts] = end, running.out
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

// agentPID keeps the process of a region's agent, as gco up said it, in a
// variable: agentpid NAME REGION.
func (s *systems) agentPID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: agentpid NAME REGION")
	}
	s.mu.Lock()
	said := s.said[ts].String()
	s.mu.Unlock()
	_, rest, found := strings.Cut(said, args[1]+" (pid ")
	pid, _, closed := strings.Cut(rest, ")")
	if !found || !closed {
		ts.Fatalf("gco up did not say the process of %s:\n%s", args[1], said)
	}
	ts.Setenv(args[0], pid)
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
	timeout, again := time.After(limit), time.NewTicker(pause)
	defer again.Stop()
	for waiting := true; waiting; {
		err := ts.Exec(args[1], args[2:]...)
		last = fmt.Sprintf("%s%s%v", ts.ReadFile("stdout"), ts.ReadFile("stderr"), err)
		if err == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		select {
		case <-again.C:
		case <-timeout:
			waiting = false
		}
	}
	ts.Fatalf("%q was not seen in %s; last:\n%s", args[0], limit, last)
}

// freePort keeps a port of loopback that is free now in a variable: freeport
// NAME.
func freePort(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: freeport NAME")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	ts.Check(listener.Close())
	ts.Setenv(args[0], port)
}

// certificate makes a certificate for loopback that signs itself: certificate
// CERT KEY.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: certificate CERT KEY")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	for i, block := range []*pem.Block{{Type: "CERTIFICATE", Bytes: certificate}, {Type: "PRIVATE KEY", Bytes: secret}} {
		ts.Check(os.WriteFile(ts.MkAbs(args[i]), pem.EncodeToMemory(block), 0o600))
	}
}

// Every example is run by a script, and every configuration is checked by
// one.
func TestEveryExampleHasAScript(t *testing.T) {
	examples, err := filepath.Glob("../../examples/*.yaml")
	if err != nil || len(examples) < 8 {
		t.Fatalf("examples: %v, %v; want at least 8", examples, err)
	}
	templates, err := filepath.Glob("../../examples/templates/*.yaml")
	if err != nil || len(templates) < 2 {
		t.Fatalf("templates: %v, %v; want at least 2", templates, err)
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
	for _, example := range append(examples, templates...) {
		if name := "$EXAMPLES/" + strings.TrimPrefix(example, "../../examples/"); !strings.Contains(all.String(), name) {
			t.Errorf("no script runs %s", name)
		}
	}
}
