package attempt

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gco-project/gco/internal/runtime/local/process"
)

// Phase is how far an attempt has come, in the words of runtime.Phase.
type Phase string

// The phases of package runtime.
const (
	Applied   Phase = "applied"
	Running   Phase = "running"
	Succeeded Phase = "succeeded"
	Failed    Phase = "failed"
	Released  Phase = "released"
	Stopped   Phase = "stopped"
	Lost      Phase = "lost"
)

// Terminal tells whether nothing of the attempt runs any more.
func (p Phase) Terminal() bool { return p != Applied && p != Running }

// PodStatus is one pod of an attempt; it means what runtime.Pod means.
type PodStatus struct {
	Name       string            `json:"name"`
	Phase      string            `json:"phase"`
	Node       string            `json:"node"`
	StartedAt  time.Time         `json:"startedAt,omitzero"`
	FinishedAt time.Time         `json:"finishedAt,omitzero"`
	Containers []ContainerStatus `json:"containers"`
}

// ContainerStatus is one container of a PodStatus, as runtime.Container.
type ContainerStatus struct {
	Name     string `json:"name"`
	Init     bool   `json:"init,omitempty"`
	State    string `json:"state"`
	ExitCode *int   `json:"exitCode,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Restarts int    `json:"restarts,omitempty"`
}

// Status is how far an attempt has come. Only who holds the attempt's lock
// writes it.
type Status struct {
	Phase    Phase  `json:"phase"`
	Reason   string `json:"reason,omitempty"`
	Message  string `json:"message,omitempty"`
	ExitCode *int   `json:"exitCode,omitempty"`
	// Result is what the containers left in Dir.Result, with a terminal phase.
	Result     string    `json:"result,omitempty"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	// Boot is the boot of the host in which it was written.
	Boot string `json:"boot"`
	// Supervisor is zero where the attempt ended before one ran.
	Supervisor process.Process `json:"supervisor,omitzero"`
	// Leaders are the first processes of the containers that run.
	Leaders []process.Process `json:"leaders,omitempty"`
	Pods    []PodStatus       `json:"pods,omitempty"`
}

// LoadStatus reads a status. It returns *CorruptError for a file that holds
// something else, and an error that is os.ErrNotExist where there is none.
func LoadStatus(path string) (Status, error) {
	var status Status
	if err := decode(path, &status); err != nil {
		return Status{}, err
	}
	switch status.Phase {
	case Applied, Running, Succeeded, Failed, Released, Stopped, Lost:
		return status, nil
	default:
		return Status{}, &CorruptError{Path: path, Err: fmt.Errorf("unknown phase %q", status.Phase)}
	}
}

// Save replaces the status of the attempt in dir. A terminal one is durable:
// who has said how an attempt ended says so after a power failure, too.
func (s Status) Save(dir Dir) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	name := filepath.Base(string(dir)) + ".json"
	path := filepath.Join(dir.Region().Statuses(), name)
	// The temporary file lies elsewhere, so that the watch on the statuses
	// sees each change once.
	temporary := filepath.Join(string(dir), "status.new")
	if err := replace(path, temporary, text, s.Phase.Terminal()); err != nil {
		return errors.Join(fmt.Errorf("writing the status of %s", filepath.Base(string(dir))), err)
	}
	return nil
}
