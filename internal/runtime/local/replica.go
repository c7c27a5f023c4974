package local

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

const (
	// startEvery is how often a replica is asked for its health that has not
	// answered yet.
	startEvery = 100 * time.Millisecond
	// unreadyAfter is how many answers in a row must be missing before it is not
	// ready, and restartAfter before it is started again.
	unreadyAfter = 2
	restartAfter = 10
	// calmAfter is after how long in readiness the pauses between restarts begin
	// anew.
	calmAfter = time.Minute
)

// replica is one copy of a revision. replicas.mu guards it.
type replica struct {
	id      job.ID
	set     runtime.SetID
	attempt int
	port    int

	phase           endpoint.Phase
	since           time.Time
	reason, message string

	// failures is how many answers in a row were missing.
	failures int
	// probing says that an answer is awaited, probeAt when the next one is asked
	// for.
	probing bool
	probeAt time.Time
	// notBefore keeps one that ended from being started too soon; pause is the
	// last one that it made.
	notBefore time.Time
	pause     time.Duration
	// drainUntil is when one that is to go is ended.
	drainUntil time.Time
	stopped    bool
}

func (one *replica) attemptID() job.AttemptID {
	return job.AttemptID{Job: one.id, Attempt: one.attempt}
}

func (one *replica) observation() endpoint.Replica {
	return endpoint.Replica{
		ID: string(one.id), Revision: one.set.Revision, Phase: one.phase, Address: fmt.Sprintf("127.0.0.1:%d", one.port),
		Restarts: one.attempt - 1, Reason: one.reason, Message: one.message, Since: one.since,
	}
}

// become changes the phase.
func (one *replica) become(phase endpoint.Phase, reason, message string, now time.Time) {
	one.phase, one.reason, one.message, one.since = phase, reason, message, now
}

// tend takes one replica as far as it goes now, and returns when it has to be
// looked at again; m.mu must be held.
func (m *replicas) tend(one *replica, now time.Time) time.Time {
	h := m.r.lookUp(one.attemptID())
	switch {
	case h == nil:
		return m.again(one, now)
	case m.terminal(h):
		return m.ended(one, h, now)
	case one.phase == endpoint.Draining && now.Before(one.drainUntil):
		return one.drainUntil
	case one.phase == endpoint.Draining:
		return m.stop(one, now)
	case one.failures >= restartAfter:
		return m.stop(one, now)
	case one.probing:
		return time.Time{}
	case now.Before(one.probeAt):
		return one.probeAt
	}
	one.probing = true
	path := m.sets[one.set].Container.HealthPath
	go m.probe(one, one.attempt, fmt.Sprintf("http://127.0.0.1:%d%s", one.port, path))
	return time.Time{}
}

// terminal tells whether nothing of an attempt runs any more.
func (m *replicas) terminal(h *held) bool {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	return h.durable() && h.status.Phase.Terminal()
}

// stop asks for the end of what runs, once.
func (m *replicas) stop(one *replica, now time.Time) time.Time {
	if one.stopped {
		return time.Time{}
	}
	if err := m.r.Stop(context.Background(), one.attemptID()); err != nil && !errors.Is(err, runtime.ErrNotFound) {
		m.r.options.Log.Error("stopping a replica; it will be tried again", "endpoint", one.set.Endpoint, "error", err)
		return now.Add(retryRoom)
	}
	one.stopped = true
	return time.Time{}
}

// ended forgets an attempt of a replica, which is made again unless it was to
// go.
func (m *replicas) ended(one *replica, h *held, now time.Time) time.Time {
	m.r.mu.Lock()
	status := h.status
	m.r.mu.Unlock()
	if err := m.r.Forget(context.Background(), one.attemptID()); err != nil {
		m.r.options.Log.Error("forgetting a replica; it will be tried again", "endpoint", one.set.Endpoint, "error", err)
		return now.Add(retryRoom)
	}
	if one.phase == endpoint.Draining {
		if err := m.r.RemoveCheckpoint(one.id); err != nil {
			m.r.options.Log.Warn("removing the directory of a replica", "endpoint", one.set.Endpoint, "error", err)
		}
		delete(m.all, one.id)
		poke(m.changed)
		return now // the set may have gone with it
	}
	if one.phase == endpoint.Ready && now.Sub(one.since) >= calmAfter {
		one.pause = 0
	}
	one.pause = min(max(2*one.pause, m.r.options.Backoff), m.r.options.MaxBackoff)
	one.notBefore = now.Add(one.pause)
	reason, message := cmp.Or(status.Reason, "Ended"), status.Message
	switch {
	case one.stopped:
		reason, message = "Unhealthy", "it did not answer its health path and was started again"
	case status.ExitCode != nil:
		message = fmt.Sprintf("it ended with exit code %d", *status.ExitCode)
	}
	one.become(endpoint.Failed, reason, message, now)
	one.attempt++
	one.stopped = false
	poke(m.changed)
	return one.notBefore
}

// again starts a replica that has ended.
func (m *replicas) again(one *replica, now time.Time) time.Time {
	if one.phase == endpoint.Draining {
		delete(m.all, one.id)
		poke(m.changed)
		return now
	}
	if now.Before(one.notBefore) {
		return one.notBefore
	}
	set := m.sets[one.set]
	if failed := m.start(one, set); failed != nil {
		set.shortage = shortageOf(failed)
		poke(m.changed)
		return now.Add(retryRoom)
	}
	// The phase stays until it answers or ends: what said why it failed is worth
	// more than that it starts again.
	one.probeAt = now
	return now
}

// probe asks a replica for its health. It is called on a goroutine of its own.
func (m *replicas) probe(one *replica, number int, url string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*m.r.options.ProbeEvery)
	defer cancel()
	failure := m.ask(ctx, url)
	m.mu.Lock()
	defer m.mu.Unlock()
	if one.attempt != number || !one.probing {
		return
	}
	now := m.r.now()
	one.probing = false
	one.probeAt = now.Add(m.r.options.ProbeEvery)
	switch {
	case one.phase == endpoint.Draining:
	case failure == "":
		one.failures = 0
		if one.phase != endpoint.Ready {
			one.become(endpoint.Ready, "", "", now)
			poke(m.changed)
		}
	case one.phase == endpoint.Ready || one.phase == endpoint.Unready:
		if one.failures++; one.failures == unreadyAfter {
			one.become(endpoint.Unready, "Unhealthy", failure, now)
			poke(m.changed)
		}
	default:
		one.probeAt = now.Add(startEvery)
	}
	poke(m.wake)
}

// ask returns why a replica is not healthy; empty if it is.
func (m *replicas) ask(ctx context.Context, url string) string {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	response, err := m.probes.Do(request)
	if err != nil {
		return "it did not answer its health path"
	}
	_ = response.Body.Close()
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Sprintf("its health path answers %d", response.StatusCode)
	}
	return ""
}

// replicaAttempt is what one replica runs as: a job of one pod that is never tried
// again by itself.
func (o Options) replicaAttempt(set runtime.ReplicaSet, id job.AttemptID, port int) runtime.Attempt {
	type variable struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	// $(PORT) in what follows needs it first.
	env := []variable{{"PORT", strconv.Itoa(port)}, {"GCO_EXECUTABLE", o.Supervisor[0]}, {"GCO_ENDPOINT", set.Endpoint}, {"GCO_REVISION", strconv.Itoa(set.Revision)}}
	for _, name := range slices.Sorted(maps.Keys(set.Container.Env)) {
		env = append(env, variable{name, set.Container.Env[name]})
	}
	type object = map[string]any
	container := object{
		"name": "replica", "image": set.Container.Image, "env": env,
		"command": set.Container.Command, "args": set.Container.Args,
		"resources": object{"requests": set.Container.Resources, "limits": set.Container.Resources},
	}
	pod := object{"restartPolicy": "Never", "containers": []any{container}}
	if terms := set.Container.CapacityType.Terms(); len(terms) > 0 {
		pod["affinity"] = object{"nodeAffinity": object{
			"requiredDuringSchedulingIgnoredDuringExecution": object{"nodeSelectorTerms": selectorTerms(terms)},
		}}
	}
	manifest, err := json.Marshal(object{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": object{"name": set.Endpoint},
		"spec": object{"backoffLimit": 0, "template": object{"spec": pod}},
	})
	if err != nil {
		panic("local: a container that JSON cannot hold: " + err.Error())
	}
	return runtime.Attempt{
		ID: id, Incarnation: "endpoints",
		Namespace: "endpoints", Name: set.Endpoint, Manifest: manifest, Model: set.Model, Unfenced: true,
	}
}

// selectorTerms says required node affinity as a manifest does.
func selectorTerms(terms []capacity.Term) []any {
	var all []any
	for _, term := range terms {
		var expressions []any
		for _, r := range term {
			expressions = append(expressions, map[string]any{"key": r.Key, "operator": r.Operator, "values": r.Values})
		}
		all = append(all, map[string]any{"matchExpressions": expressions})
	}
	return all
}
