package attempt

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"time"
)

// Record is what an attempt is; it is written once, before anything runs, and
// never changes.
type Record struct {
	ID          ID     `json:"id"`
	Incarnation string `json:"incarnation"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Region      string `json:"region"`
	Unfenced    bool   `json:"unfenced,omitempty"`
	// Fences is how many calls of Fence there had been; the next one ends it.
	Fences int64 `json:"fences"`
	// Boot is the boot of the host that the attempt belongs to.
	Boot      string    `json:"boot"`
	AppliedAt time.Time `json:"appliedAt"`
	// Token is in the environment of every process of the attempt.
	Token string `json:"token"`
	// Path is PATH for the containers, Checkpoint the job's directory.
	Path       string `json:"path"`
	Checkpoint string `json:"checkpoint"`
	// Model is the directory of the attempt's model; empty is none.
	Model string `json:"model,omitempty"`
	// LogLimit is how many bytes of one container's output are kept.
	LogLimit int64 `json:"logLimit"`
	// Backoff is the pause before the first restart; it doubles up to
	// MaxBackoff.
	Backoff    time.Duration `json:"backoff"`
	MaxBackoff time.Duration `json:"maxBackoff"`
	Plan       Plan          `json:"plan"`
	// Replica is set for what is no attempt of a job.
	Replica *Replica `json:"replica,omitempty"`
}

// Replica says of which endpoint the process is a replica, and where it
// listens.
type Replica struct {
	Endpoint string `json:"endpoint"`
	UID      string `json:"uid"`
	Revision int    `json:"revision"`
	Port     int    `json:"port"`
}

// Plan is a batch/v1 Job reduced to what running it needs. The fields mean
// what they mean there.
type Plan struct {
	// Completions is nil for a job that is done when one pod has succeeded.
	Completions    *int          `json:"completions,omitempty"`
	Parallelism    int           `json:"parallelism"`
	Indexed        bool          `json:"indexed,omitempty"`
	BackoffLimit   int           `json:"backoffLimit"`
	ActiveDeadline time.Duration `json:"activeDeadline,omitempty"`
	FailureRules   []FailureRule `json:"failureRules,omitempty"`
	Pod            Pod           `json:"pod"`
	// Slots are where pods may run, one for each that runs at a time.
	Slots []Slot `json:"slots"`
	// Requests is what each slot holds of its node.
	Requests map[string]int64 `json:"requests,omitempty"`
}

// FailureRule is a rule of podFailurePolicy on exit codes.
type FailureRule struct {
	// Action is FailJob, Ignore or Count.
	Action string `json:"action"`
	// Container is empty for every one.
	Container string `json:"container,omitempty"`
	// In holds if the exit code is one of Codes, else if it is none of them.
	In    bool  `json:"in"`
	Codes []int `json:"codes"`
}

// Slot is a node's name and the indexes of the GPUs that were given there.
type Slot struct {
	Node  string `json:"node"`
	Index int    `json:"index"`
	GPUs  []int  `json:"gpus,omitempty"`
}

// Pod is the template of every pod of the attempt.
type Pod struct {
	// RestartOnFailure is restartPolicy OnFailure; the other one is Never.
	RestartOnFailure bool          `json:"restartOnFailure,omitempty"`
	ActiveDeadline   time.Duration `json:"activeDeadline,omitempty"`
	// Grace is the time between SIGTERM and SIGKILL.
	Grace      time.Duration `json:"grace"`
	Volumes    []string      `json:"volumes,omitempty"`
	Init       []Container   `json:"init,omitempty"`
	Containers []Container   `json:"containers"`
}

// All returns the init containers, then the others.
func (p Pod) All() []Container { return slices.Concat(p.Init, p.Containers) }

// Container is one container of the template.
type Container struct {
	Name string `json:"name"`
	// Command is command and args, before the expansion of $(NAME).
	Command    []string `json:"command"`
	WorkingDir string   `json:"workingDir,omitempty"`
	Env        []EnvVar `json:"env,omitempty"`
	Volumes    []string `json:"volumes,omitempty"`
	GPUs       int      `json:"gpus,omitempty"`
	// Sidecar is an init container with restartPolicy Always.
	Sidecar bool `json:"sidecar,omitempty"`
}

// The fields of a pod that a variable may refer to, by fieldPath. FieldIndex
// stands for the label of the completion index.
const (
	FieldName  = "metadata.name"
	FieldUID   = "metadata.uid"
	FieldNode  = "spec.nodeName"
	FieldIndex = "completion-index"
)

// EnvVar is a variable: a value to expand, or a field of the pod.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
	// Field is one of the fields that differ from pod to pod.
	Field string `json:"field,omitempty"`
	// Verbatim values are not expanded.
	Verbatim bool `json:"verbatim,omitempty"`
}

// LoadRecord reads the record of an attempt. It returns *CorruptError for a
// file that holds something else.
func LoadRecord(dir Dir) (Record, error) {
	var record Record
	if err := decode(dir.Record(), &record); err != nil {
		return Record{}, err
	}
	if got, want := Name(record.ID), filepath.Base(string(dir)); got != want {
		return Record{}, &CorruptError{Path: dir.Record(), Err: fmt.Errorf("it is that of %q", got)}
	}
	return record, nil
}

func (r Record) save(path string) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return write(path, text, true)
}
