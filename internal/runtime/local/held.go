package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
	"github.com/gco-project/gco/internal/runtime/local/attempt"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// held is an attempt that this runtime holds, or is about to. Runtime.mu
// guards what changes.
type held struct {
	id     job.AttemptID
	dir    attempt.Dir
	record attempt.Record
	status attempt.Status
	// made is closed once it is durable, or can't be made so (err).
	made chan struct{}
	err  error
	// corrupt: the record could not be read.
	corrupt bool
	// slots is what it holds of the nodes until it has ended.
	slots []attempt.Slot
}

func (h *held) durable() bool {
	select {
	case <-h.made:
		return h.err == nil
	default:
		return false
	}
}

// await returns when the attempt is held durably, or why it could not be.
func (h *held) await(ctx context.Context) error {
	select {
	case <-h.made:
		return h.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// List returns every attempt that is held, by job ID and attempt. It is always
// complete.
func (r *Runtime) List(context.Context) (list []runtime.Observation, synced bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list = make([]runtime.Observation, 0, len(r.held))
	for _, h := range r.held {
		if h.durable() && h.record.Replica == nil {
			list = append(list, h.observation())
		}
	}
	slices.SortFunc(list, func(a, b runtime.Observation) int {
		return cmp.Or(cmp.Compare(a.ID.Job, b.ID.Job), cmp.Compare(a.ID.Attempt, b.ID.Attempt))
	})
	return list, true, nil
}

func (h *held) observation() runtime.Observation {
	return runtime.Observation{
		ID: h.id, Incarnation: h.record.Incarnation, Phase: runtime.Phase(h.status.Phase), Reason: h.status.Reason,
		Message: h.status.Message, ExitCode: h.status.ExitCode, Result: h.status.Result,
		StartedAt: h.status.StartedAt, FinishedAt: h.status.FinishedAt,
	}
}

// anyStatus stands for every file among the statuses.
const anyStatus = "*"

// statusWritten is called for each file that appears among the statuses.
func (r *Runtime) statusWritten(name string) {
	if name == anyStatus {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, h := range r.held {
			r.refresh(h)
		}
		return
	}
	name, found := strings.CutSuffix(name, ".json")
	if !found {
		return
	}
	id, err := attempt.ParseName(name)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.held[attemptID(id)]; h != nil {
		r.refresh(h)
	}
}

// refresh reads the status of an attempt; r.mu must be held. What can't be
// read leaves what was known: the supervisor writes again, or is buried.
func (r *Runtime) refresh(h *held) {
	status, err := attempt.LoadStatus(r.region.Status(idOf(h.id)))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		r.options.Log.Error("reading the status of an attempt", "job", h.id.Job, "attempt", h.id.Attempt, "error", err)
		return
	}
	r.observe(h, status)
}

// observe takes over a status; r.mu must be held. A terminal one stays.
func (r *Runtime) observe(h *held, status attempt.Status) {
	if h.status.Phase.Terminal() {
		return
	}
	h.status = status
	if status.Phase.Terminal() {
		r.nodes.release(h.slots, h.record.Plan.Requests)
		h.slots = nil
	}
	r.signal()
}

// bury settles an attempt when its supervisor has ended: it waits until none
// has the attempt's lock, and gives an attempt without an end the one that is
// left. It is called on a goroutine of its own.
func (r *Runtime) bury(h *held) {
	if r.settled(h) {
		return
	}
	log := r.options.Log.With("job", h.id.Job, "attempt", h.id.Attempt)
	lock, err := attempt.WaitLock(h.dir.Lock())
	if errors.Is(err, os.ErrNotExist) {
		return // forgotten meanwhile
	}
	if err != nil {
		log.Error("settling an attempt", "error", err)
		return
	}
	defer lock.Release()
	for pause := 10 * time.Millisecond; !r.settled(h); pause = min(2*pause, time.Second) {
		if err = r.settle(h); err == nil {
			return
		}
		// A full disk, most likely. What was lost must not stay running.
		log.Error("settling an attempt; trying again", "error", err)
		r.rest(pause)
	}
}

// settle gives an attempt without a supervisor its end; the attempt's lock
// must be held.
func (r *Runtime) settle(h *held) error {
	status, err := r.lastStatus(h)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.observe(h, status)
	return nil
}

// rest waits for that long, or until Close.
func (r *Runtime) rest(pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-r.done:
	}
}

// settled tells whether there is nothing left to do for an attempt, at least
// not for this agent.
func (r *Runtime) settled(h *held) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed || r.held[h.id] != h || h.status.Phase.Terminal()
}

// lastStatus returns the terminal status of an attempt that has no
// supervisor, and writes one where there is none. The attempt's lock must be
// held.
func (r *Runtime) lastStatus(h *held) (attempt.Status, error) {
	last, err := attempt.LoadStatus(r.region.Status(idOf(h.id)))
	if err == nil && last.Phase.Terminal() {
		return last, nil
	}
	ended := r.now()
	status := attempt.Status{
		Phase: attempt.Lost, Boot: r.boot, StartedAt: last.StartedAt, FinishedAt: ended, Pods: endedPods(last.Pods, ended),
	}
	switch {
	case h.corrupt:
		status.Reason, status.Message = "CorruptRecord", "the attempt's own record can't be read"
	case h.record.Boot != r.boot:
		status.Reason, status.Message = "Rebooted", "the host was restarted before the attempt had ended"
	case errors.Is(err, os.ErrNotExist) && !r.mayStart(h):
		status.Reason, status.Message = "Fenced", "the region's lease passed before the attempt was started"
	case errors.Is(err, os.ErrNotExist):
		status.Phase, status.Reason = attempt.Released, "SupervisorFailed"
		status.Message = "the attempt's supervisor did not start: " + lastWords(h.dir.SupervisorLog())
	default:
		status.Reason, status.Message = "SupervisorLost", "the attempt's supervisor ended without saying how the attempt did"
	}
	if err := r.killLeft(h, last); err != nil {
		return attempt.Status{}, err
	}
	return status, status.Save(h.dir)
}

// endedPods is what became of pods whose supervisor is gone.
func endedPods(pods []attempt.PodStatus, now time.Time) []attempt.PodStatus {
	for i := range pods {
		if pods[i].FinishedAt.IsZero() {
			pods[i].Phase, pods[i].FinishedAt = "Failed", now
		}
		for k := range pods[i].Containers {
			if c := &pods[i].Containers[k]; c.State == "running" {
				c.State, c.Reason = "terminated", "Lost"
			}
		}
	}
	return pods
}

// lastWords returns the end of a supervisor's own output.
func lastWords(path string) string {
	text, err := os.ReadFile(path)
	if err != nil || len(text) == 0 {
		return "it left no message"
	}
	return strings.TrimSpace(string(text[max(0, len(text)-500):]))
}

// killLeft kills what a dead supervisor left running, and returns when that is
// gone.
func (r *Runtime) killLeft(h *held, last attempt.Status) error {
	if !h.corrupt && h.record.Boot != r.boot {
		return nil
	}
	for {
		table, err := process.Table()
		if err != nil {
			return err
		}
		left := process.Left(table, last.Leaders, attempt.Marker(h.record.Token))
		if len(left) == 0 {
			return nil
		}
		for _, p := range left {
			if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, process.ErrGone) {
				return err
			}
		}
		// They are nobody's children, so nothing tells of their end.
		r.rest(time.Millisecond)
	}
}

// adoptAll takes over what the directory holds.
func (r *Runtime) adoptAll() error {
	entries, err := os.ReadDir(r.region.Attempts())
	if err != nil {
		return err
	}
	var found []*held
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), ".") { // half made, or half removed
			if err := removeAll(filepath.Join(r.region.Attempts(), entry.Name())); err != nil {
				return err
			}
			continue
		}
		id, err := attempt.ParseName(entry.Name())
		if err != nil {
			r.options.Log.Warn("ignoring what is no attempt", "path", filepath.Join(r.region.Attempts(), entry.Name()))
			continue
		}
		found = append(found, r.read(attemptID(id)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.openLease(found); err != nil {
		return err
	}
	for _, h := range found {
		if err := r.adopt(h); err != nil {
			return err
		}
	}
	return r.dropStrayStatuses()
}

// read loads an attempt. A record that can't be read leaves an attempt that
// can only be ended.
func (r *Runtime) read(id job.AttemptID) *held {
	h := &held{id: id, dir: r.region.Dir(idOf(id)), made: make(chan struct{})}
	close(h.made)
	h.status.Phase = attempt.Applied
	record, err := attempt.LoadRecord(h.dir)
	if err != nil {
		r.options.Log.Error("reading an attempt; it will end", "job", id.Job, "attempt", id.Attempt, "error", err)
		h.corrupt = true
	}
	h.record = record
	h.record.ID = idOf(id)
	return h
}

// adopt takes over one attempt: it ended, or its supervisor runs, or it died,
// or none was ever started.
func (r *Runtime) adopt(h *held) error {
	r.held[h.id] = h
	status, err := attempt.LoadStatus(r.region.Status(idOf(h.id)))
	if err == nil {
		h.status = status
	}
	if h.status.Phase.Terminal() {
		return nil
	}
	h.slots = h.record.Plan.Slots
	r.nodes.hold(h.slots, h.record.Plan.Requests)
	lock, busy := attempt.TryLock(h.dir.Lock())
	if errors.Is(busy, attempt.ErrLocked) {
		go r.bury(h) // when its supervisor ends
		if h.corrupt {
			if err := attempt.WriteDurably(h.dir.Stop(), nil); err != nil {
				return err
			}
			r.poke(h)
		}
		return nil
	}
	if busy != nil {
		return busy
	}
	defer lock.Release()
	if errors.Is(err, os.ErrNotExist) && !h.corrupt && r.mayStart(h) {
		if err := r.start(h); err != nil {
			return r.releaseUnstarted(h, err)
		}
		return nil
	}
	return r.end(h)
}

// end gives an attempt without a supervisor its end.
func (r *Runtime) end(h *held) error {
	status, err := r.lastStatus(h)
	if err != nil {
		return err
	}
	r.observe(h, status)
	return nil
}

// mayStart tells whether an attempt that never had a supervisor may have one
// now.
func (r *Runtime) mayStart(h *held) bool {
	return h.record.Boot == r.boot && (h.record.Unfenced || r.lease.Allows(h.record.Fences, r.boot, process.Now()))
}

// dropStrayStatuses removes the statuses of attempts that were forgotten.
func (r *Runtime) dropStrayStatuses() error {
	entries, err := os.ReadDir(r.region.Statuses())
	if err != nil {
		return err
	}
	for _, entry := range entries {
		id, err := attempt.ParseName(strings.TrimSuffix(entry.Name(), ".json"))
		if err == nil && r.held[attemptID(id)] != nil {
			continue
		}
		if err := os.Remove(filepath.Join(r.region.Statuses(), entry.Name())); err != nil {
			return fmt.Errorf("removing the status of a forgotten attempt: %w", err)
		}
	}
	return nil
}

// now is in UTC: what is written may be read anywhere.
func (r *Runtime) now() time.Time { return r.options.Clock.Now().UTC() }
