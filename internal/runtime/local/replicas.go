package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// replicas runs replicas of endpoints beside the attempts of jobs. A replica
// is an attempt that List does not show, that needs no lease, and that is made
// again when it ends: its ID stays, and the number of the attempt grows. What
// there should be of each set is a file, so that whoever opens the directory
// next goes on.
type replicas struct {
	r       *Runtime
	probes  *http.Client
	changed chan struct{} // SetsChanged
	wake    chan struct{}

	mu   sync.Mutex
	sets map[runtime.SetID]*replicaSet
	all  map[job.ID]*replica
}

// replicaSet is what there should be of one revision.
type replicaSet struct {
	runtime.ReplicaSet
	shortage *endpoint.Shortage
}

func openReplicas(r *Runtime) (*replicas, error) {
	m := &replicas{
		r: r, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		sets: map[runtime.SetID]*replicaSet{}, all: map[job.ID]*replica{},
		probes: &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	entries, err := os.ReadDir(r.region.Endpoints())
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".json") {
			continue
		}
		set, err := readSet(filepath.Join(r.region.Endpoints(), entry.Name()))
		if err != nil {
			r.options.Log.Error("reading what there should be of an endpoint; its replicas end", "file", entry.Name(), "error", err)
			continue
		}
		m.sets[set.SetID] = &replicaSet{ReplicaSet: set}
	}
	m.adopt()
	return m, nil
}

func readSet(path string) (set runtime.ReplicaSet, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &set)
	}
	return set, err
}

// adopt takes over the replicas that the directory holds.
func (m *replicas) adopt() {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	for id, h := range m.r.held {
		of := h.record.Replica
		if of == nil {
			continue
		}
		if other := m.all[id.Job]; other != nil && other.attempt > id.Attempt {
			continue
		}
		set := runtime.SetID{Endpoint: of.Endpoint, UID: of.UID, Revision: of.Revision}
		if m.sets[set] == nil {
			m.sets[set] = &replicaSet{ReplicaSet: runtime.ReplicaSet{SetID: set}}
		}
		m.all[id.Job] = &replica{
			id: id.Job, set: set, attempt: id.Attempt, port: of.Port, phase: endpoint.Starting, since: h.record.AppliedAt,
		}
	}
}

// file is where a set is kept.
func (m *replicas) file(id runtime.SetID) string {
	return filepath.Join(m.r.region.Endpoints(), fmt.Sprintf("%s.%s.%d.json", id.Endpoint, url.PathEscape(id.UID), id.Revision))
}

// Scale makes the runtime hold a number of replicas; see runtime.Replicas.
func (r *Runtime) Scale(_ context.Context, set runtime.ReplicaSet) error {
	return r.replicas.scale(set)
}

func (m *replicas) scale(set runtime.ReplicaSet) error {
	if !endpoint.ValidName(set.Endpoint) {
		return &runtime.Rejected{Reason: "InvalidName", Message: fmt.Sprintf("%q can't name an endpoint", set.Endpoint)}
	}
	if set.Count > 0 {
		if _, _, err := compile(m.r.options.replicaAttempt(set, job.AttemptID{Job: job.NewID(), Attempt: 1}, 1), m.r.options); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	held := m.sets[set.SetID]
	if held == nil && set.Count == 0 {
		return nil
	}
	if held != nil && held.Container.Image != "" {
		set.Container = held.Container
		set.DrainTime = held.DrainTime
	}
	text, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("writing down a set of endpoint %s: %w", set.Endpoint, err)
	}
	if err := attempt.WriteDurably(m.file(set.SetID), text); err != nil {
		return fmt.Errorf("holding a set of endpoint %s: %w", set.Endpoint, err)
	}
	m.sets[set.SetID] = &replicaSet{ReplicaSet: set}
	poke(m.wake)
	poke(m.changed)
	return nil
}

// Sets lists every set that is held.
func (r *Runtime) Sets(context.Context) ([]runtime.HeldSet, bool, error) {
	m := r.replicas
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]runtime.HeldSet, 0, len(m.sets))
	for id, set := range m.sets {
		held := runtime.HeldSet{SetID: id, Count: set.Count, Shortage: set.shortage}
		for _, one := range m.of(id) {
			held.Replicas = append(held.Replicas, one.observation())
		}
		list = append(list, held)
	}
	slices.SortFunc(list, func(a, b runtime.HeldSet) int {
		return cmp.Or(cmp.Compare(a.Endpoint, b.Endpoint), cmp.Compare(a.UID, b.UID), cmp.Compare(a.Revision, b.Revision))
	})
	return list, true, nil
}

// SetsChanged is signalled after Sets would answer differently.
func (r *Runtime) SetsChanged() <-chan struct{} { return r.replicas.changed }

// of lists the replicas of a set by their ID, so oldest first; m.mu must be
// held.
func (m *replicas) of(id runtime.SetID) []*replica {
	var list []*replica
	for _, one := range m.all {
		if one.set == id {
			list = append(list, one)
		}
	}
	slices.SortFunc(list, func(a, b *replica) int { return cmp.Compare(a.id, b.id) })
	return list
}

// run looks after the replicas until Close.
func (m *replicas) run() {
	for {
		m.r.mu.Lock()
		updated, closed := m.r.updated, m.r.closed
		m.r.mu.Unlock()
		if closed {
			return
		}
		var due <-chan time.Time
		if wait := m.runOnce(); wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-updated:
		case <-m.wake:
		case <-due:
		case <-m.r.done:
			return
		}
	}
}

// retryRoom is after what time a region without room is looked at again.
const retryRoom = 2 * time.Second

// runOnce takes every replica as far as it goes now, and returns after what
// time there is something to do again; 0 is never.
func (m *replicas) runOnce() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.r.now()
	var next time.Time
	due := func(at time.Time) {
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	for id, set := range m.sets {
		m.resize(set, now)
		if set.shortage != nil {
			due(now.Add(retryRoom))
		}
		for _, one := range m.of(id) {
			due(m.tend(one, now))
		}
		if set.Count == 0 && len(m.of(id)) == 0 {
			if err := os.Remove(m.file(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				m.r.options.Log.Error("forgetting a set of an endpoint", "endpoint", id.Endpoint, "error", err)
				due(now.Add(retryRoom))
				continue
			}
			delete(m.sets, id)
			poke(m.changed)
		}
	}
	if next.IsZero() {
		return 0
	}
	return max(next.Sub(now), time.Millisecond)
}

// resize starts what is missing of a set, and lets go what is too much; m.mu
// must be held.
func (m *replicas) resize(set *replicaSet, now time.Time) {
	list := slices.DeleteFunc(m.of(set.SetID), func(one *replica) bool { return one.phase == endpoint.Draining })
	slices.SortStableFunc(list, func(a, b *replica) int { return worth(b.phase) - worth(a.phase) })
	for _, one := range list[min(len(list), set.Count):] {
		one.drainUntil = now
		if one.phase == endpoint.Ready {
			one.drainUntil = now.Add(set.DrainTime)
		}
		one.become(endpoint.Draining, "", "", now)
		poke(m.changed)
	}
	before := set.shortage
	set.shortage = nil
	for n := len(list); n < set.Count && set.shortage == nil; n++ {
		one := &replica{id: job.NewID(), set: set.SetID, attempt: 1, phase: endpoint.Starting, since: now}
		if failed := m.start(one, set); failed == nil {
			m.all[one.id] = one
			poke(m.changed)
		} else {
			set.shortage = shortageOf(failed)
		}
	}
	if (before == nil) != (set.shortage == nil) || before != nil && *before != *set.shortage {
		poke(m.changed)
	}
}

// worth is how much a replica in a phase is worth keeping.
func worth(p endpoint.Phase) int {
	return slices.Index([]endpoint.Phase{endpoint.Failed, endpoint.Starting, endpoint.Unready, endpoint.Ready}, p)
}

func shortageOf(err error) *endpoint.Shortage {
	if why, ok := errors.AsType[*runtime.Rejected](err); ok && why.Capacity != nil {
		return &endpoint.Shortage{Resource: why.Capacity.Resource, Kind: why.Capacity.Kind, Message: why.Capacity.Message}
	}
	return &endpoint.Shortage{Message: err.Error()}
}

// start applies the next attempt of a replica on a port that is free now; m.mu
// must be held.
func (m *replicas) start(one *replica, set *replicaSet) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	one.port, one.failures, one.probing = port, 0, false
	of := &attempt.Replica{Endpoint: set.Endpoint, UID: set.UID, Revision: set.Revision, Port: port}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	return m.r.apply(ctx, m.r.options.replicaAttempt(set.ReplicaSet, one.attemptID(), port), of)
}

// endReplicas asks for the end of every replica that runs; r.mu must be held.
func (r *Runtime) endReplicas() {
	for _, h := range r.held {
		if h.record.Replica == nil || h.status.Phase.Terminal() {
			continue
		}
		if err := attempt.WriteDurably(h.dir.Stop(), nil); err != nil {
			r.options.Log.Error("ending a replica", "endpoint", h.record.Replica.Endpoint, "error", err)
			continue
		}
		r.poke(h)
	}
}

// startTimeout bounds how long a start may take, which only waits for the
// disk.
const startTimeout = 30 * time.Second

// freePort is one of loopback that nobody listens on now. Somebody else may
// take it first: the replica then ends, and gets another.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("looking for a free port: %s is none", listener.Addr())
	}
	return address.Port, nil
}
