// Package attempt is what the two halves of runtime/local share on disk: the
// agent's side (package local) writes a Record before anything runs, and the
// supervisor (package supervise) writes the Status from then on. Region and
// Dir say where each file is; the rest of the package reads and writes them.
// It starts and judges nothing. It imports none of GCO's other packages: what
// a supervisor links decides how fast it starts.
package attempt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Region is the directory of one local runtime.
type Region string

// The files of a region. Attempts being made or removed lie in Attempts under
// a name that starts with a dot.
func (r Region) AgentLock() string { return filepath.Join(string(r), "agent.lock") }
func (r Region) Cluster() string   { return filepath.Join(string(r), "cluster") }
func (r Region) Lease() string     { return filepath.Join(string(r), "lease") }
func (r Region) Attempts() string  { return filepath.Join(string(r), "attempts") }

// Endpoints has what there should be of each revision of each endpoint.
func (r Region) Endpoints() string { return filepath.Join(string(r), "endpoints") }

// Statuses is a directory of its own, so that one watch sees every change.
func (r Region) Statuses() string { return filepath.Join(string(r), "status") }

// Dir returns the directory of an attempt.
func (r Region) Dir(id ID) Dir {
	return Dir(filepath.Join(r.Attempts(), Name(id)))
}

// Status returns where the status of an attempt is.
func (r Region) Status(id ID) string {
	return filepath.Join(r.Statuses(), Name(id)+".json")
}

// ID names an attempt: the job's ID, and which attempt of it.
type ID struct {
	Job     string `json:"job"`
	Attempt int    `json:"attempt"`
}

// Name is the directory name of an attempt.
func Name(id ID) string { return id.Job + "." + strconv.Itoa(id.Attempt) }

// ParseName is the inverse of Name.
func ParseName(name string) (ID, error) {
	text, number, found := strings.Cut(name, ".")
	if !found {
		return ID{}, fmt.Errorf("%q is not <job>.<attempt>", name)
	}
	attempt, err := strconv.Atoi(number)
	if err != nil || attempt < 0 || !isUUID(text) {
		return ID{}, fmt.Errorf("%q is not <job>.<attempt>", name)
	}
	parsed := ID{Job: text, Attempt: attempt}
	if Name(parsed) != name {
		return ID{}, fmt.Errorf("%q is not how %q is written", name, Name(parsed))
	}
	return parsed, nil
}

// isUUID tells whether text is how job.ID writes a UUID.
func isUUID(text string) bool {
	for i, c := range []byte(text) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return len(text) == 36
}

// Dir is the directory of one attempt.
type Dir string

// Result is the file that GCO_RESULT names to the containers.
func (d Dir) Result() string { return filepath.Join(string(d), "result") }

// The files of an attempt. A supervisor holds Lock as long as it lives; Stop
// exists once the end was asked for; a byte through Control (a FIFO) makes the
// supervisor look at Stop and at the region's lease.
func (d Dir) Record() string        { return filepath.Join(string(d), "attempt.json") }
func (d Dir) Lock() string          { return filepath.Join(string(d), "lock") }
func (d Dir) Stop() string          { return filepath.Join(string(d), "stop") }
func (d Dir) Control() string       { return filepath.Join(string(d), "control") }
func (d Dir) Events() string        { return filepath.Join(string(d), "events") }
func (d Dir) Logs() string          { return filepath.Join(string(d), "logs") }
func (d Dir) SupervisorLog() string { return filepath.Join(string(d), "supervisor.log") }

// Pod returns the scratch directory of one pod.
func (d Dir) Pod(name string) string { return filepath.Join(string(d), "pods", name) }

// Log returns the log of one container. Neither name holds a "_".
func (d Dir) Log(pod, container string) string {
	return filepath.Join(d.Logs(), pod+"_"+container)
}

// Region returns the directory of the region that holds the attempt.
func (d Dir) Region() Region { return Region(filepath.Dir(filepath.Dir(string(d)))) }

// Make fills an empty directory with what an attempt needs, the record last.
func (d Dir) Make(record Record) error {
	for _, dir := range []string{d.Logs(), filepath.Dir(d.Pod("any"))} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := syscall.Mkfifo(d.Control(), 0o600); err != nil {
		return fmt.Errorf("making %s: %w", d.Control(), err)
	}
	return record.save(d.Record())
}

// Poke makes the supervisor of an attempt look at its files; nothing happens
// where none listens.
func Poke(dir Dir) error {
	fifo, err := syscall.Open(dir.Control(), syscall.O_WRONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ENXIO) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir.Control(), err)
	}
	defer syscall.Close(fifo)
	// A full pipe will be read anyway.
	if _, err := syscall.Write(fifo, []byte{'.'}); err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("writing to %s: %w", dir.Control(), err)
	}
	return nil
}

// markerVariable tells the processes of one attempt from all others, also
// when its supervisor is dead.
const markerVariable = "GCO_PROCESS"

// Marker is how the environment variable begins that every process of an
// attempt has; empty for an attempt without a token.
func Marker(token string) string {
	if token == "" {
		return ""
	}
	return markerVariable + "=" + token + "/"
}

// ContainerMarker is the variable of one container's processes.
func ContainerMarker(token, pod, container string) (name, value string) {
	return markerVariable, token + "/" + pod + "/" + container
}
