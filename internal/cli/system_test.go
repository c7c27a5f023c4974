package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// system is a gco up that runs in this process.
type system struct {
	out, said *watchedBuffer
	stop      context.CancelFunc
	ended     chan int
}

// envFor is a real process's surroundings, but for what a test holds.
func envFor(lookup func(string) (string, bool), out, err io.Writer) Env {
	return Env{
		In: strings.NewReader(""), Out: out, Err: err, Width: 100, Lookup: lookup,
		UserConfigDir: os.UserConfigDir, UserStateDir: os.UserCacheDir,
		Clock: clock.RealClock{}, Executable: os.Executable,
	}
}

// startSystem runs gco up in dir on a free port, and returns when it has said
// hello.
func startSystem(env Env, dir string, flags []string) (*system, error) {
	s := &system{
		out:  &watchedBuffer{until: "Ctrl-C", found: make(chan struct{})},
		said: &watchedBuffer{}, ended: make(chan int, 1),
	}
	env.Out, env.Err = s.out, s.said
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	args := append([]string{"up", "--dir", filepath.Join(dir, "up"), "--listen", "127.0.0.1:0"}, flags...)
	go func() { s.ended <- New(env).RunContext(ctx, args) }()
	select {
	case <-s.out.found:
		return s, nil
	case code := <-s.ended:
		stop()
		return nil, fmt.Errorf("gco up ended with exit code %d\n%s", code, s.said)
	case <-time.After(30 * time.Second):
		stop()
		return nil, fmt.Errorf("gco up did not come up in 30 s\n%s%s", s.out, s.said)
	}
}

// end stops the system as Ctrl-C does, and waits for its end.
func (s *system) end() error {
	s.stop()
	if code := <-s.ended; code != ExitDone {
		return fmt.Errorf("gco up ended with exit code %d\n%s", code, s.said)
	}
	return nil
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
