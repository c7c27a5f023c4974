// Package runtime is the contract of what an agent drives: a Kubernetes
// cluster (runtime/kube) or processes of this host (runtime/local). Both pass
// the suite in runtimetest. The contract decides nothing about jobs; it holds
// attempts, fences them and says what it sees.
package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// The errors that an agent decides on.
var (
	// ErrNotFound: the runtime holds no such attempt (or has no such logs).
	ErrNotFound = errors.New("no such attempt")
	// ErrLocked: another agent drives this runtime.
	ErrLocked = errors.New("another agent drives this runtime")
	// ErrFenced: nothing may start before the next Renew.
	ErrFenced = errors.New("fenced: nothing may start before the lease is renewed")
)

// NoContainer says that an attempt which the runtime holds has no such
// container. It is an ErrNotFound, too.
type NoContainer struct {
	Container string
	// Have are the names of those there are.
	Have []string
}

func (e *NoContainer) Error() string {
	return fmt.Sprintf("there is no container %q; there are: %s", e.Container, strings.Join(e.Have, ", "))
}

// Unwrap lets a caller that only asks for ErrNotFound find it.
func (e *NoContainer) Unwrap() error { return ErrNotFound }

// Rejected says that the runtime will never apply this attempt as it is. The
// agent reports it as failed, or as released where Capacity is set.
type Rejected struct {
	Reason   string
	Message  string
	Capacity *CapacityFailure
}

func (e *Rejected) Error() string { return e.Reason + ": " + e.Message }

// MaxResult is how many bytes an attempt may leave as its result.
const MaxResult = job.MaxResult

// Attempt is what to run.
type Attempt struct {
	ID job.AttemptID
	// Incarnation is that of the control plane's store; part of the name of
	// whatever the runtime makes.
	Incarnation string
	Namespace   string
	Name        string
	// Manifest is a batch/v1 Job as JSON.
	Manifest json.RawMessage
	// Model is the directory with the files of the attempt's model, which every
	// container finds by the variable GCO_MODEL; empty where it has none.
	Model string
	// Unfenced attempts run on past the deadline given to Renew.
	Unfenced bool
}

// Phase is how far an attempt has come.
type Phase string

// The phases. An attempt goes through them in this order, and may leave some
// out; it ends in exactly one of the last five.
const (
	PhaseApplied   Phase = "applied"
	PhaseRunning   Phase = "running"
	PhaseSucceeded Phase = "succeeded"
	PhaseFailed    Phase = "failed"
	// PhaseReleased: given back without having run to its end.
	PhaseReleased Phase = "released"
	// PhaseStopped: ended by Stop.
	PhaseStopped Phase = "stopped"
	// PhaseLost: fenced, or gone without a trace of how.
	PhaseLost Phase = "lost"
)

// Terminal tells whether nothing of the attempt runs any more.
func (p Phase) Terminal() bool { return p != PhaseApplied && p != PhaseRunning }

// CapacityFailure says what the runtime could not provide.
type CapacityFailure struct {
	Resource string
	Kind     capacity.FailureKind
	Message  string
}

// Observation is what the runtime knows of one attempt.
type Observation struct {
	ID          job.AttemptID
	Incarnation string
	Phase       Phase
	Reason      string
	Message     string
	ExitCode    *int
	// Result is what the workload left in the file that its environment names
	// in GCO_RESULT, once the attempt has ended; where several containers leave
	// one, the runtime may choose. At most MaxResult bytes are read, and one
	// more where there are more.
	Result     string
	StartedAt  time.Time
	FinishedAt time.Time
	Capacity   *CapacityFailure
}

// Pod is one pod of an attempt, or what stands for one.
type Pod struct {
	Name       string
	Phase      string
	Node       string
	StartedAt  time.Time
	FinishedAt time.Time
	Containers []Container
}

// Container is one container of a Pod. State is waiting, running or
// terminated.
type Container struct {
	Name     string
	Init     bool
	State    string
	ExitCode *int
	Reason   string
	Restarts int
}

// ClusterEvent is what the cluster said about an attempt.
type ClusterEvent struct {
	At      time.Time
	Warning bool
	Reason  string
	Object  string
	Message string
	Count   int
}

// LogOptions selects a part of an attempt's logs.
type LogOptions struct {
	// Container is empty for all; each line is then prefixed with
	// "[pod/container] " where there is more than one.
	Container string
	Follow    bool
	// Tail is the number of last lines; 0 is all.
	Tail       int
	Since      time.Time
	Timestamps bool
}

// Runtime runs attempts. All methods may be called concurrently. After a
// restart of the agent, a Runtime opened on the same cluster holds the same
// attempts.
type Runtime interface {
	// Cluster identifies what is driven, for ever: the UID of kube-system, or
	// of the local directory.
	Cluster() string
	// Apply makes the runtime hold the attempt. It returns as soon as that is
	// durable; what happens next shows in List. Applying what is already held
	// does nothing, whatever phase it is in. *Rejected means never; ErrFenced,
	// not before the next Renew: there was none yet, its time has passed, or
	// Fence came after it.
	Apply(ctx context.Context, attempt Attempt) error
	// Stop asks for the end of an attempt and returns at once; List shows
	// PhaseStopped when nothing of it runs any more. One that has already
	// ended keeps its phase. ErrNotFound: nothing to stop.
	Stop(ctx context.Context, id job.AttemptID) error
	// Forget removes what is left of an attempt in a terminal phase, its logs
	// included; it is an error for any other. Unknown attempts are forgotten
	// already.
	Forget(ctx context.Context, id job.AttemptID) error
	// List returns every attempt that is held, by job ID and attempt.
	// synced is false while the list may still be incomplete (caches).
	List(ctx context.Context) (held []Observation, synced bool, err error)
	// Capacity is a snapshot that accounts for every attempt whose Apply has
	// returned.
	Capacity(ctx context.Context) (capacity.Snapshot, error)
	// Changed returns a channel that is signalled (at least once, possibly
	// merged) after List or Capacity would answer differently.
	Changed() <-chan struct{}

	// Renew lets all fenced attempts run for at most trust from now. When
	// that time passes without another Renew, they are killed and end in
	// PhaseLost, even if this process is dead.
	Renew(trust time.Duration) error
	// Fence kills all fenced attempts now, and returns when none runs.
	Fence(ctx context.Context) error

	// Logs streams an attempt's logs; with Follow until it ends or ctx does.
	Logs(ctx context.Context, id job.AttemptID, options LogOptions) (io.ReadCloser, error)
	Pods(ctx context.Context, id job.AttemptID) ([]Pod, error)
	ClusterEvents(ctx context.Context, id job.AttemptID) ([]ClusterEvent, error)

	// Close stops driving, and leaves what runs alone.
	Close() error
}
