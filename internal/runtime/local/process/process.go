// Package process is what runtime/local needs of the operating system:
// processes that a reused PID cannot be mistaken for, everything below a
// process, and a clock that all processes of the host share. It knows nothing
// of attempts. The supervisor and the agent's side of runtime/local call it.
package process

import (
	"errors"
	"slices"
	"strings"
	"syscall"
)

// ErrGone says that the process has ended, whether or not its PID was given
// to another one since.
var ErrGone = errors.New("process has ended")

// Process names one process for as long as the host is up. PIDs are reused;
// a PID with its start time is not.
type Process struct {
	PID int `json:"pid"`
	// Start is when it started, in a unit of the operating system's own.
	Start uint64 `json:"start"`
}

// Entry is one row of the process table.
type Entry struct {
	Process
	Parent  int
	Group   int
	Session int
	// Zombie has ended, and waits for its parent to take notice.
	Zombie bool
}

// Below returns the entries that descend from the process with that PID, in
// no particular order.
func Below(table []Entry, pid int) []Entry {
	children := map[int][]Entry{}
	for _, entry := range table {
		children[entry.Parent] = append(children[entry.Parent], entry)
	}
	var found []Entry
	seen := map[int]bool{pid: true}
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, child := range children[queue[0]] {
			if seen[child.PID] {
				continue
			}
			seen[child.PID] = true
			found = append(found, child)
			queue = append(queue, child.PID)
		}
	}
	return found
}

// Exit is how a process ended.
type Exit struct {
	PID int
	// Code is as a shell gives it: 128 and the signal's number where a signal
	// ended the process.
	Code   int
	Signal syscall.Signal
}

func exitOf(pid int, status syscall.WaitStatus) Exit {
	if status.Signaled() {
		return Exit{PID: pid, Code: 128 + int(status.Signal()), Signal: status.Signal()}
	}
	return Exit{PID: pid, Code: status.ExitStatus()}
}

// Left returns what is left of the sessions that some processes led, and every
// process whose environment holds a variable with that beginning, zombies
// aside. An empty marker marks nothing.
func Left(table []Entry, leaders []Process, marker string) []Process {
	var left []Process
	for _, entry := range table {
		if entry.Zombie {
			continue
		}
		if ledByOneOf(table, leaders, entry) || marked(entry.PID, marker) {
			left = append(left, entry.Process)
		}
	}
	return left
}

func ledByOneOf(table []Entry, leaders []Process, entry Entry) bool {
	return slices.ContainsFunc(leaders, func(leader Process) bool {
		if entry.Group != leader.PID && entry.Session != leader.PID {
			return false
		}
		at := slices.IndexFunc(table, func(e Entry) bool { return e.PID == leader.PID })
		if at >= 0 {
			return table[at].Process == leader
		}
		// The leader is gone. Its number stays with the group while that has
		// members, but may have gone to another group that lost its leader, too.
		return trustGroups && entry.Start >= leader.Start
	})
}

func marked(pid int, marker string) bool {
	return marker != "" && slices.ContainsFunc(Environment(pid), func(variable string) bool {
		return strings.HasPrefix(variable, marker)
	})
}

// SignalGroup signals every process of the group that a process leads. The
// caller must know that the number still belongs to that group: its leader
// was not reaped yet.
func SignalGroup(leader int, signal syscall.Signal) error {
	if leader <= 1 {
		return errors.New("refusing to signal every process")
	}
	if err := syscall.Kill(-leader, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return nil
}
