// Package local runs attempts as processes of this host, as the user that
// runs the agent. It pulls no image and isolates nothing; it is what
// `gco up` drives, and what tests drive.
//
// Each attempt has a directory and a supervisor, a process of its own
// (package supervise) that outlives the agent, obeys the region's lease
// without it, and takes everything of the attempt with it when it ends. This
// package is the agent's side: it writes down what is to run, finds it a place
// on the configured nodes, starts the supervisor, and reads what that says.
// The files between the two are in package attempt.
package local

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// What Options leave out.
const (
	DefaultLogLimit   = 64 << 20
	DefaultBackoff    = time.Second
	DefaultMaxBackoff = time.Minute
	DefaultMaxGrace   = 5 * time.Second
	DefaultProbeEvery = time.Second
)

// Options say what to drive.
type Options struct {
	// Dir holds everything of this region but checkpoints; it is made where it
	// is missing.
	Dir    string
	Region string
	// Nodes is what the region is said to have. Attempts are held against it;
	// nothing keeps a process from using more.
	Nodes []capacity.NodeShape
	// CheckpointDir holds a directory for each job. All regions of a host share
	// it, so that a job finds its checkpoints after it was re-placed.
	CheckpointDir string
	// Supervisor is the command line, less the attempt's directory, that runs
	// Supervise, such as {"/usr/bin/gco", "supervise"}.
	Supervisor []string
	// LogLimit is how many bytes of one container's output are kept.
	LogLimit int64
	// Backoff is the pause before a failed pod or container is started again;
	// it doubles up to MaxBackoff. (Kubernetes: 10 s and 5 or 10 min.)
	Backoff    time.Duration
	MaxBackoff time.Duration
	// ProbeEvery is how often a replica is asked for its health. An answer may
	// take twice as long.
	ProbeEvery time.Duration
	// EndReplicas ends the replicas of endpoints with Close; they start again
	// with the next Open. Without, they run on, as the contract says.
	EndReplicas bool
	// MaxGrace caps terminationGracePeriodSeconds.
	MaxGrace time.Duration
	Log      *slog.Logger
	Clock    clock.PassiveClock
}

func (o Options) withDefaults() Options {
	o.LogLimit = cmp.Or(o.LogLimit, DefaultLogLimit)
	o.Backoff = cmp.Or(o.Backoff, DefaultBackoff)
	o.MaxBackoff = max(cmp.Or(o.MaxBackoff, DefaultMaxBackoff), o.Backoff)
	o.MaxGrace = cmp.Or(o.MaxGrace, DefaultMaxGrace)
	o.ProbeEvery = cmp.Or(o.ProbeEvery, DefaultProbeEvery)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Dir == "":
		return errors.New("opening a local runtime: no directory")
	case o.CheckpointDir == "":
		return errors.New("opening a local runtime: no directory for checkpoints")
	case len(o.Supervisor) == 0:
		return errors.New("opening a local runtime: no command for supervisors")
	}
	return nil
}

// Runtime drives one region's directory. It implements runtime.Runtime and
// runtime.Replicas.
type Runtime struct {
	options Options
	region  attempt.Region
	cluster string
	boot    string
	lock    *attempt.Lock
	watch   *watch
	changed chan struct{}
	// fault lets tests crash between two writes; nil otherwise.
	fault func(step string) error

	mu       sync.Mutex
	held     map[job.AttemptID]*held
	nodes    *nodes
	lease    attempt.Lease
	closed   bool
	done     chan struct{} // closed by Close
	replicas *replicas
	// updated is closed and replaced at each change of a phase.
	updated chan struct{}
}

var (
	_ runtime.Runtime  = (*Runtime)(nil)
	_ runtime.Replicas = (*Runtime)(nil)
)

// Open opens the directory of a region and takes over what runs there. It
// returns runtime.ErrLocked while another agent has it open.
func Open(options Options) (*Runtime, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	r := &Runtime{
		options: options, changed: make(chan struct{}, 1), updated: make(chan struct{}), done: make(chan struct{}),
		held: map[job.AttemptID]*held{}, nodes: newNodes(options.Region, options.Nodes),
	}
	if err := r.open(); err != nil {
		return nil, fmt.Errorf("opening the local runtime in %s: %w", options.Dir, err)
	}
	go r.replicas.run()
	return r, nil
}

func (r *Runtime) open() error {
	if err := r.openDirs(); err != nil {
		return err
	}
	lock, err := attempt.LockWithin(r.region.AgentLock(), time.Second)
	if errors.Is(err, attempt.ErrLocked) {
		return runtime.ErrLocked
	}
	if err != nil {
		return err
	}
	r.lock = lock
	if err := r.takeOver(); err != nil {
		return errors.Join(err, lock.Release())
	}
	return nil
}

// openDirs makes both paths absolute: supervisors run elsewhere.
func (r *Runtime) openDirs() error {
	dir, err := filepath.Abs(r.options.Dir)
	if err != nil {
		return err
	}
	checkpoints, err := filepath.Abs(r.options.CheckpointDir)
	if err != nil {
		return err
	}
	r.options.CheckpointDir = checkpoints
	r.region = attempt.Region(dir)
	for _, dir := range []string{r.region.Attempts(), r.region.Statuses(), r.region.Endpoints(), checkpoints} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

func (r *Runtime) takeOver() (err error) {
	if r.boot, err = process.Boot(); err != nil {
		return err
	}
	if r.cluster, err = identity(r.region.Cluster()); err != nil {
		return err
	}
	if r.watch, err = newWatch(r.region.Statuses(), r.statusWritten, r.options.Log); err != nil {
		return err
	}
	err = r.adoptAll()
	if err == nil {
		r.replicas, err = openReplicas(r)
	}
	if err != nil {
		return errors.Join(err, r.watch.close())
	}
	return nil
}

// identity returns the UUID in the file, and makes one the first time.
func identity(path string) (string, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		fresh := uuid.NewString()
		return fresh, attempt.WriteDurably(path, []byte(fresh+"\n"))
	}
	if err != nil {
		return "", err
	}
	id, err := uuid.Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("%s does not hold the identity of this directory; restore the file, or start with an empty directory: %w", path, err)
	}
	return id.String(), nil
}

// Cluster identifies the directory, wherever it is moved.
func (r *Runtime) Cluster() string { return r.cluster }

// Changed is signalled after a change of what List or Capacity answer.
func (r *Runtime) Changed() <-chan struct{} { return r.changed }

// Close stops driving. What runs goes on under its supervisors, until the
// lease passes.
func (r *Runtime) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	if r.options.EndReplicas {
		r.endReplicas()
	}
	r.closed = true
	close(r.done)
	return errors.Join(r.watch.close(), r.lock.Release())
}

// signal tells of a change; r.mu must be held.
func (r *Runtime) signal() {
	close(r.updated)
	r.updated = make(chan struct{})
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// RemoveCheckpoint removes the directory that a job's attempts kept their
// checkpoints in. Nothing else ever does.
func (r *Runtime) RemoveCheckpoint(id job.ID) error {
	parsed, err := job.ParseID(string(id))
	if err != nil {
		return fmt.Errorf("removing a checkpoint: %w", err)
	}
	return removeAll(r.checkpoint(parsed))
}

func (r *Runtime) checkpoint(id job.ID) string {
	return filepath.Join(r.options.CheckpointDir, string(id))
}
