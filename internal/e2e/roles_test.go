package e2e

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// shortLeases is a configuration under which a lost region shows in seconds.
const shortLeases = "timing: {trust: 4s, lease: 6s, takeover: 8s, longPoll: 1s}\n"

// roles is a gco server on its own, to which tests add agents.
type roles struct {
	*process
	dir    string
	config string
	addr   string
	client *client.Client
}

func controlPlane(t *testing.T, args ...string) *roles {
	t.Helper()
	return controlPlaneWith(t, shortLeases, args...)
}

// controlPlaneWith is controlPlane with a configuration of the test's own.
func controlPlaneWith(t *testing.T, config string, args ...string) *roles {
	t.Helper()
	dir := t.TempDir()
	c := &roles{dir: dir, config: filepath.Join(dir, "gco.yaml")}
	if err := os.WriteFile(c.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c.process = launch(t, dir, append([]string{"server", "--dir", c.data(), "--listen", "127.0.0.1:0", "--config", c.config}, args...)...)
	c.connect(c.data())
	t.Cleanup((&system{dir: dir}).killSupervisors)
	return c
}

// connect waits until the server listens, and makes a client for it with the
// admin token in its data.
func (c *roles) connect(data string, options ...client.Option) {
	t := c.t
	t.Helper()
	c.addr = c.expect(`(http://127\.0\.0\.1:\d+)`)[1]
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	c.client, err = client.New(c.addr, strings.TrimSpace(string(token)), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.client.Close)
}

func (c *roles) data() string { return filepath.Join(c.dir, "data") }

func (c *roles) submit(submission api.Submission) api.Job {
	c.t.Helper()
	job, _, err := c.client.Submit(c.t.Context(), submission, "")
	if err != nil {
		c.t.Fatal(err)
	}
	return job
}

// agent starts the agent of a region, with a directory of its own.
func (c *roles) agent(region, directory string) *process {
	c.t.Helper()
	return c.agentThrough(strings.TrimPrefix(c.addr, "http://"), region, directory)
}

func (c *roles) agentThrough(address, region, directory string) *process {
	c.t.Helper()
	file := filepath.Join(c.dir, region+".token")
	if _, err := os.Stat(file); err != nil {
		token, err := c.client.CreateToken(c.t.Context(), api.NewToken{Name: region, Role: "agent", Region: region})
		if err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(token.Secret), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	return launch(c.t, c.dir, "agent", "--region", region, "--runtime", "local", "--addr", "http://"+address,
		"--token-file", file, "--dir", filepath.Join(c.dir, directory), "--config", c.config)
}

// proxy passes connections on until it is cut; then it refuses them.
type proxy struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener}
	t.Cleanup(p.cut)
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			onward, err := net.Dial("tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			p.mu.Lock()
			p.open = append(p.open, from, onward)
			p.mu.Unlock()
			go pass(onward, from)
			go pass(from, onward)
		}
	}()
	return p
}

func pass(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_ = to.Close()
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) cut() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.open {
		_ = conn.Close()
	}
}

func readAll(t *testing.T, from io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(from)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestSecondAgentOfARegion(t *testing.T) {
	c := controlPlane(t)
	c.agent("east", "east")
	job := c.submit(script("first", "true"))
	until(t, c.client, job.ID, "finished", finished)

	same := c.agent("east", "east")
	if code := same.wait(); code == 0 || !strings.Contains(same.text(), filepath.Join(c.dir, "east")) {
		t.Errorf("a second agent on the same directory: exit code %d, said\n%s", code, same.text())
	}
	other := c.agent("east", "elsewhere")
	other.expect(`held by another`)
	job = c.submit(script("second", "sleep 1"))
	if ended := until(t, c.client, job.ID, "finished", finished); ended.State != "succeeded" || ended.Attempt != 1 {
		t.Errorf("beside an intruder the job ended as %s on attempt %d", ended.State, ended.Attempt)
	}
}

func TestSecondServerOnOneDatabase(t *testing.T) {
	c := controlPlane(t)
	second := launch(t, c.dir, "server", "--dir", c.data(), "--listen", "127.0.0.1:0")
	if code := second.wait(); code == 0 || !strings.Contains(second.text(), c.data()) {
		t.Errorf("a second server: exit code %d, said\n%s", code, second.text())
	}
	if err := c.client.Ready(t.Context()); err != nil {
		t.Errorf("the first server after the second: %v", err)
	}
}

func TestCorruptDatabaseIsLeftAlone(t *testing.T) {
	c := controlPlane(t)
	c.submit(script("kept", "true"))
	c.kill()
	databases, err := filepath.Glob(filepath.Join(c.data(), "*.db"))
	if err != nil || len(databases) != 1 {
		t.Fatalf("databases %v, %v", databases, err)
	}
	noise := []byte(strings.Repeat("this is no database\n", 1000))
	if err := os.WriteFile(databases[0], noise, 0o600); err != nil {
		t.Fatal(err)
	}
	again := launch(t, c.dir, "server", "--dir", c.data(), "--listen", "127.0.0.1:0")
	if code := again.wait(); code == 0 || !strings.Contains(again.text(), databases[0]) {
		t.Errorf("a corrupt database: exit code %d, said\n%s", code, again.text())
	}
	if now, err := os.ReadFile(databases[0]); err != nil || !bytes.Equal(now, noise) {
		t.Errorf("the file was changed: %s bytes, %v", strconv.Itoa(len(now)), err)
	}
}
