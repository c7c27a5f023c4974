package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

var (
	errApply = errors.New("the cluster did not answer in time")
	errAway  = errors.New("the cluster cannot be reached")
)

// cluster is a fake runtime. It survives its agent, as the real ones do: the
// attempts live in it, and so does the deadline after which it kills them.
// It is slow, fails jobs, and runs out of capacity, all by its own dice.
type cluster struct {
	name  string
	now   func() time.Time
	dice  *rand.Rand
	nodes int64

	attempts map[job.AttemptID]*attempt
	deadline time.Time
	changed  chan struct{}
	// tired makes every Apply fail for lack of capacity.
	tired bool
	// awayUntil is when the agent can reach the cluster again; what runs there
	// runs on meanwhile.
	awayUntil time.Time
	// crash is called before each change, and may panic to kill the agent.
	crash func()
	// moved tells the simulation that the set of running attempts changed.
	moved func()
}

// attempt is one that the cluster holds. The times say when it will get there
// if nothing comes between.
type attempt struct {
	runtime.Attempt
	phase    runtime.Phase
	startAt  time.Time
	endAt    time.Time
	stopAt   time.Time
	succeeds bool
	exit     int
}

func (c *cluster) Cluster() string          { return c.name }
func (c *cluster) Changed() <-chan struct{} { return c.changed }
func (c *cluster) Close() error             { return nil }

// reach is what each call to the cluster goes through.
func (c *cluster) reach(ctx context.Context) error {
	if c.now().Before(c.awayUntil) {
		return errAway
	}
	return ctx.Err()
}

func (c *cluster) Apply(ctx context.Context, a runtime.Attempt) error {
	c.crash()
	if err := c.reach(ctx); err != nil {
		return err
	}
	if c.attempts[a.ID] != nil {
		return nil
	}
	if !a.Unfenced && !c.now().Before(c.deadline) {
		return errors.New("the lease has ended")
	}
	if c.dice.IntN(20) == 0 {
		return errApply
	}
	if c.tired || c.free() < 1 {
		return &runtime.Rejected{
			Reason: "no-capacity", Message: "no node is free",
			Capacity: &runtime.CapacityFailure{Resource: capacity.CPU, Kind: capacity.NoCapacity, Message: "no node is free"},
		}
	}
	start := c.now().Add(between(c.dice, 0, 3*time.Second))
	length := 40 * time.Second
	if c.dice.IntN(5) == 0 {
		length = 4 * time.Minute
	}
	c.attempts[a.ID] = &attempt{
		Attempt: a, phase: runtime.PhaseApplied, startAt: start,
		endAt:    start.Add(between(c.dice, 100*time.Millisecond, length)),
		succeeds: c.dice.IntN(5) > 0,
		exit:     1 + c.dice.IntN(3),
	}
	c.moved()
	return nil
}

func (c *cluster) Stop(ctx context.Context, id job.AttemptID) error {
	c.crash()
	if err := c.reach(ctx); err != nil {
		return err
	}
	a := c.attempts[id]
	if a == nil {
		return runtime.ErrNotFound
	}
	if !a.phase.Terminal() && a.stopAt.IsZero() {
		a.stopAt = c.now().Add(between(c.dice, 0, 2*time.Second))
	}
	return nil
}

func (c *cluster) Forget(ctx context.Context, id job.AttemptID) error {
	c.crash()
	if err := c.reach(ctx); err != nil {
		return err
	}
	if a := c.attempts[id]; a != nil && !a.phase.Terminal() {
		return fmt.Errorf("attempt %v is %s", id, a.phase)
	}
	delete(c.attempts, id)
	return nil
}

func (c *cluster) List(ctx context.Context) ([]runtime.Observation, bool, error) {
	if err := c.reach(ctx); err != nil {
		return nil, false, err
	}
	var held []runtime.Observation
	for _, id := range c.ids() {
		a := c.attempts[id]
		o := runtime.Observation{ID: id, Incarnation: a.Incarnation, Phase: a.phase}
		if a.phase == runtime.PhaseFailed {
			o.Reason, o.ExitCode = "Error", &a.exit
		}
		held = append(held, o)
	}
	return held, true, nil
}

func (c *cluster) Capacity(ctx context.Context) (capacity.Snapshot, error) {
	if err := c.reach(ctx); err != nil {
		return capacity.Snapshot{}, err
	}
	total := capacity.Resources{capacity.CPU: 1000, capacity.Memory: 1 << 30, capacity.Pods: 10}
	used := c.nodes - c.free()
	shape := func(count int64, free capacity.Resources) []capacity.NodeShape {
		if count == 0 {
			return nil
		}
		return []capacity.NodeShape{{Count: int(count), Free: free, Total: total, Architecture: "amd64"}}
	}
	full := capacity.Resources{capacity.CPU: 0, capacity.Memory: 1 << 30, capacity.Pods: 9}
	return capacity.Snapshot{Nodes: append(shape(c.nodes-used, total), shape(used, full)...)}, nil
}

func (c *cluster) Renew(trust time.Duration) error {
	c.deadline = c.now().Add(trust)
	return nil
}

func (c *cluster) Fence(context.Context) error {
	c.crash()
	c.deadline = c.now()
	c.kill()
	return nil
}

func (c *cluster) Logs(_ context.Context, id job.AttemptID, _ runtime.LogOptions) (io.ReadCloser, error) {
	if c.attempts[id] == nil {
		return nil, runtime.ErrNotFound
	}
	return io.NopCloser(strings.NewReader("log of " + string(id.Job))), nil
}

func (c *cluster) Pods(context.Context, job.AttemptID) ([]runtime.Pod, error) { return nil, nil }

func (c *cluster) ClusterEvents(context.Context, job.AttemptID) ([]runtime.ClusterEvent, error) {
	return nil, nil
}

// advance lets time do its work on the attempts: start, end, stop and fence.
func (c *cluster) advance() {
	now := c.now()
	if !now.Before(c.deadline) {
		c.kill()
	}
	for _, id := range c.ids() {
		a := c.attempts[id]
		before := a.phase
		switch {
		case a.phase.Terminal():
		case !a.stopAt.IsZero() && !now.Before(a.stopAt):
			a.phase = runtime.PhaseStopped
		case !now.Before(a.endAt) && a.succeeds:
			a.phase = runtime.PhaseSucceeded
		case !now.Before(a.endAt):
			a.phase = runtime.PhaseFailed
		case !now.Before(a.startAt):
			a.phase = runtime.PhaseRunning
		}
		if a.phase != before {
			c.moved()
		}
	}
}

func (c *cluster) kill() {
	for _, id := range c.ids() {
		if a := c.attempts[id]; !a.phase.Terminal() && !a.Unfenced {
			a.phase = runtime.PhaseLost
			c.moved()
		}
	}
}

// evict takes one attempt away without a trace, as a dying node does.
func (c *cluster) evict() {
	ids := c.ids()
	if len(ids) == 0 {
		return
	}
	if a := c.attempts[ids[c.dice.IntN(len(ids))]]; !a.phase.Terminal() {
		a.phase = runtime.PhaseLost
		c.moved()
	}
}

// wipe forgets everything, as a cluster does that was built anew under its
// old identity.
func (c *cluster) wipe() {
	clear(c.attempts)
	c.moved()
}

func (c *cluster) free() int64 {
	free := c.nodes
	for _, a := range c.attempts {
		if !a.phase.Terminal() {
			free--
		}
	}
	return max(free, 0)
}

func (c *cluster) ids() []job.AttemptID {
	ids := make([]job.AttemptID, 0, len(c.attempts))
	for id := range c.attempts {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b job.AttemptID) int {
		if n := strings.Compare(string(a.Job), string(b.Job)); n != 0 {
			return n
		}
		return a.Attempt - b.Attempt
	})
	return ids
}

func between(dice *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(dice.Int64N(int64(high-low)+1))
}
