package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gco-project/gco/client"
)

// databaseName is the file that gco server keeps in its directory.
const databaseName = "gco.db"

// limits lift what would otherwise stop a load from one token.
const limits = `
server: {log: {level: warn}}
limits: {queuedPerNamespace: 100000000, submissionsPerSecond: 10000000, submissionBurst: 20000000}
`

// process is a real gco, or what it is compared with, in a process of its own.
type process struct {
	*client.Client
	command *exec.Cmd
	// ready is how long after its start /readyz said so.
	ready  time.Duration
	ended  chan error
	output string
}

// build builds the binary once a run, as make build does.
func (b *bench) build(ctx context.Context) error {
	if b.gco != "" {
		return nil
	}
	path := filepath.Join(b.dir, "gco")
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/gco")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building gco: %w: %s", err, out)
	}
	b.gco = path
	return nil
}

// start runs gco with the arguments and waits until it is ready. dir is its
// home, and where it keeps everything.
func (b *bench) start(ctx context.Context, dir, tokenFile string, args ...string) (*process, error) {
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "gco.yaml")
	if err := os.WriteFile(config, []byte(limits), 0o600); err != nil {
		return nil, err
	}
	command := exec.Command(b.gco, append(args, "--config", config, "--dir", dir, "--listen", address)...)
	command.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_STATE_HOME="+dir)
	begun := time.Now()
	p, err := launch(filepath.Join(dir, "output"), command)
	if err != nil {
		return nil, fmt.Errorf("starting gco: %w", err)
	}
	if err := p.waitUntilReady(ctx, "http://"+address); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.ready = time.Since(begun)
	token, err := os.ReadFile(filepath.Join(dir, tokenFile))
	if err == nil {
		p.Client, err = client.New("http://"+address, strings.TrimSpace(string(token)), client.WithAttempts(1))
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// launch starts a command whose output goes to a file.
func launch(output string, command *exec.Cmd) (*process, error) {
	file, err := os.Create(output)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	command.Stdout, command.Stderr = file, file
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &process{command: command, ended: make(chan error, 1), output: output}
	go func() { p.ended <- command.Wait() }()
	return p, nil
}

// startServer runs a control plane on a folder with or without a database.
func (b *bench) startServer(ctx context.Context, dir string) (*process, error) {
	return b.start(ctx, dir, "admin.token", "server")
}

// startUp runs the whole system with three regions.
func (b *bench) startUp(ctx context.Context, dir string) (*process, error) {
	return b.start(ctx, dir, "control-plane/admin.token", "up")
}

func (p *process) waitUntilReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	probe, err := client.New(url, "", client.WithAttempts(1))
	if err != nil {
		return err
	}
	defer probe.Close()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := probe.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return fmt.Errorf("gco ended at its start: %w; it said: %s", ended, p.said())
		case <-ctx.Done():
			return fmt.Errorf("gco is not ready: %w; it said: %s", err, p.said())
		case <-ticker.C:
		}
	}
}

func (p *process) said() string {
	text, err := os.ReadFile(p.output)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// stop ends the process as an operator would, and kills it if that takes long.
func (p *process) stop() error {
	if p.Client != nil {
		p.Close()
	}
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return nil
	case <-time.After(20 * time.Second):
		_ = p.command.Process.Kill()
		<-p.ended
		return fmt.Errorf("%s did not stop within 20 s and was killed", filepath.Base(p.command.Path))
	}
}

// megabytes is the resident memory of the process, now and at its highest.
func (p *process) megabytes() (now, highest float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the memory of a process (Linux only): %w", err)
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 3 {
			continue
		}
		kilobytes, _ := strconv.ParseFloat(fields[1], 64)
		switch fields[0] {
		case "VmRSS:":
			now = kilobytes * 1024 / 1e6
		case "VmHWM:":
			highest = kilobytes * 1024 / 1e6
		}
	}
	return now, highest, nil
}

// ticksPerSecond is Linux's USER_HZ, in which /proc counts (proc(5)).
const ticksPerSecond = 100

// cpu is the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of a process (Linux only): %w", err)
	}
	// The second field is the name in parentheses, which may hold anything.
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading the processor time: %q", text)
	}
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * time.Second / ticksPerSecond, err
}

func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
