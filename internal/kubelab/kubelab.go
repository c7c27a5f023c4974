// Package kubelab starts the kubelab program, a real Kubernetes control plane
// in one process, and asks it for faults. It owns the process and the words
// spoken with it; the program is a module of its own. gco up --kubernetes and
// the tests of what drives a cluster call it.
package kubelab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Name is what the program is called.
const Name = "kubelab"

// Options is what a Cluster is made of.
type Options struct {
	// Binary is the program.
	Binary string
	// Dir keeps the cluster: one that is started there again has its objects.
	Dir string
	// Region is a label of the nodes; Nodes is a file that says which there
	// are. Both may be empty.
	Region, Nodes string
	// Kubeconfig is the file that is written; empty is one in Dir.
	Kubeconfig string
	// Listen is a loopback address; empty picks a free port.
	Listen string
	// More are further arguments.
	More []string
}

// Cluster is a running control plane.
type Cluster struct {
	// Server is the URL of the API server, Kubeconfig a file with which a
	// client may do everything there.
	Server     string `json:"server"`
	Kubeconfig string `json:"kubeconfig"`
	// Version is that of Kubernetes, Log a file with what it says.
	Version string `json:"version"`
	Log     string `json:"log"`
	// Control is the URL where faults are asked for.
	Control string `json:"control"`

	command *exec.Cmd
	alive   io.Closer
	ended   chan struct{}
	how     error
}

// Start starts a cluster and returns when it serves, or when ctx ends. It ends
// with this process, however that ends.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	args := []string{"--with-parent", "--dir", o.Dir}
	for _, flag := range [][2]string{{"region", o.Region}, {"config", o.Nodes}, {"kubeconfig", o.Kubeconfig}, {"listen", o.Listen}} {
		if flag[1] != "" {
			args = append(args, "--"+flag[0], flag[1])
		}
	}
	c := &Cluster{command: exec.Command(o.Binary, append(args, o.More...)...), ended: make(chan struct{})}
	said := &bytes.Buffer{}
	c.command.Stderr = said
	// Not in the terminal's group: an interrupt is for this process, which
	// then ends its clusters in its own order.
	c.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	alive, err := c.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("starting kubelab: %w", err)
	}
	c.alive = alive
	out, err := c.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting kubelab: %w", err)
	}
	if err := c.command.Start(); err != nil {
		return nil, fmt.Errorf("starting kubelab: %w", err)
	}
	line := make(chan []byte, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadBytes('\n')
		line <- text
		c.how = c.command.Wait()
		close(c.ended)
	}()
	select {
	case text := <-line:
		if err := json.Unmarshal(text, c); err != nil {
			c.Kill()
			return nil, fmt.Errorf("starting kubelab in %s: it ended before it was ready: %s", o.Dir, strings.TrimSpace(said.String()))
		}
		return c, nil
	case <-ctx.Done():
		c.Kill()
		return nil, fmt.Errorf("starting kubelab in %s: %w", o.Dir, context.Cause(ctx))
	}
}

// Ended is closed when the process has ended.
func (c *Cluster) Ended() <-chan struct{} { return c.ended }

// PID is that of the process.
func (c *Cluster) PID() int { return c.command.Process.Pid }

// stopWithin is how long Stop waits for a process that says goodbye.
const stopWithin = 10 * time.Second

// Stop ends the cluster in order.
func (c *Cluster) Stop() {
	_ = c.alive.Close()
	patience, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	select {
	case <-c.ended:
	case <-patience.Done():
		c.Kill()
	}
}

// Kill ends the process as kill -9 does.
func (c *Cluster) Kill() {
	_ = c.command.Process.Kill()
	<-c.ended
}

// StopAPI lets the API server refuse its clients and cuts the connections that
// they have; the cluster behind goes on.
func (c *Cluster) StopAPI(ctx context.Context) error {
	return c.put(ctx, "api", map[string]any{"stopped": true})
}

// SlowAPI holds back everything that clients send to the API server by that
// much.
func (c *Cluster) SlowAPI(ctx context.Context, delay time.Duration) error {
	return c.put(ctx, "api", map[string]any{"stopped": false, "delay": delay.String()})
}

// ResumeAPI ends StopAPI and SlowAPI.
func (c *Cluster) ResumeAPI(ctx context.Context) error {
	return c.put(ctx, "api", map[string]any{"stopped": false})
}

// SetCapacity closes every node to new pods, or opens them again.
func (c *Cluster) SetCapacity(ctx context.Context, there bool) error {
	return c.put(ctx, "capacity", map[string]any{"none": !there})
}

// SetNode lets a node say that it is ready (True), that it is not (False), or
// nothing at all (Unknown).
func (c *Cluster) SetNode(ctx context.Context, name, ready string) error {
	return c.put(ctx, "nodes/"+url.PathEscape(name), map[string]any{"ready": ready})
}

// put asks for a state of something.
func (c *Cluster) put(ctx context.Context, what string, state any) error {
	text, err := json.Marshal(state)
	if err != nil {
		return fmt.Errorf("asking kubelab for a fault: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, c.Control+"/"+what, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("asking kubelab for a fault: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking kubelab for a fault: %w", err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("asking kubelab for %s %s: %s: %s", what, text, response.Status, bytes.TrimSpace(said))
	}
	return err
}

// ErrMissing says that the program is not installed.
var ErrMissing = errors.New("the kubelab program is missing: make kubelab builds it, as bin/kubelab; or name it with GCO_KUBELAB")

// Find looks for the program: where GCO_KUBELAB says, beside this program, and
// in PATH.
func Find(executable string) (string, error) {
	if named := os.Getenv("GCO_KUBELAB"); named != "" {
		return exec.LookPath(named)
	}
	if actual, err := filepath.EvalSymlinks(executable); err == nil {
		executable = actual
	}
	beside := filepath.Join(filepath.Dir(executable), Name)
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	if found, err := exec.LookPath(Name); err == nil {
		return found, nil
	}
	return "", ErrMissing
}
