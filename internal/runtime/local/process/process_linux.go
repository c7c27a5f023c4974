package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// trustGroups: here, environments tell what belongs to whom.
const trustGroups = false

// Boot names the time since the host was started; another boot has another
// name.
func Boot() (string, error) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot's identity: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Now is the time since the boot on CLOCK_BOOTTIME: every process of the host
// reads the same, nobody can set it, and it goes on while the host sleeps.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("process: no CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// Look returns the process that has the PID now.
func Look(pid int) (Entry, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return Entry{}, ErrGone
	}
	if err != nil {
		return Entry{}, err
	}
	return parseStat(text)
}

// parseStat reads a line of /proc/PID/stat (proc_pid_stat(5)). The second
// field, the name, may hold anything, so it counts from the last ")".
func parseStat(text []byte) (Entry, error) {
	open, shut := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || shut < open {
		return Entry{}, fmt.Errorf("no name in process state %q", text)
	}
	fields := strings.Fields(string(text[shut+1:]))
	const state, parent, group, session, start = 0, 1, 2, 3, 19
	if len(fields) <= start {
		return Entry{}, fmt.Errorf("%d fields in process state %q", len(fields), text)
	}
	var entry Entry
	var err error
	number := func(field string) int {
		n, e := strconv.Atoi(field)
		if e != nil && err == nil {
			err = fmt.Errorf("process state %q: %w", text, e)
		}
		return n
	}
	entry.PID = number(string(bytes.TrimSpace(text[:open])))
	entry.Parent, entry.Group, entry.Session = number(fields[parent]), number(fields[group]), number(fields[session])
	entry.Zombie = fields[state] == "Z" || fields[state] == "X"
	entry.Start = uint64(number(fields[start]))
	return entry, err
}

// Table lists every process that this one may see.
func Table() ([]Entry, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("reading the process table: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("reading the process table: %w", err)
	}
	table := make([]Entry, 0, len(names))
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		entry, err := Look(pid)
		if errors.Is(err, ErrGone) || errors.Is(err, os.ErrPermission) {
			continue // another user's, where /proc is mounted with hidepid
		}
		if err != nil {
			return nil, fmt.Errorf("reading process %d: %w", pid, err)
		}
		table = append(table, entry)
	}
	return table, nil
}

// Signal signals that process and never another one.
func (p Process) Signal(signal syscall.Signal) error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EINVAL):
		return ErrGone
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		return p.signalByPID(signal)
	case err != nil:
		return fmt.Errorf("opening process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	now, err := Look(p.PID)
	if err != nil || now.Process != p {
		return ErrGone
	}
	if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return ErrGone
		}
		return fmt.Errorf("signalling process %d: %w", p.PID, err)
	}
	return nil
}

// signalByPID is for kernels before 5.3.
func (p Process) signalByPID(signal syscall.Signal) error {
	now, err := Look(p.PID)
	if err != nil || now.Process != p {
		return ErrGone
	}
	if err := syscall.Kill(p.PID, signal); err != nil {
		return fmt.Errorf("signalling process %d: %w", p.PID, err)
	}
	return nil
}

// Environment returns the environment that the process was started with; nil
// where it can't be read.
func Environment(pid int) []string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimRight(string(text), "\x00"), "\x00")
}

// AdoptOrphans makes this process the parent of every descendant whose own
// parent ends, so that none can leave its tree.
func AdoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the reaper of descendants: %w", err)
	}
	return nil
}

// Attributes start a process in a session and group of its own that dies with
// the thread that starts it: the caller must lock its goroutine to one.
func Attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
}

// Reap takes notice of one child that has ended, without waiting. beforehand
// is called while the PID still belongs to the child. childless says that
// there is no child left, which on Linux, after AdoptOrphans, means no
// descendant.
func Reap(beforehand func(pid int)) (exit Exit, ended, childless bool, err error) {
	for {
		var seen siginfo
		into := (*unix.Siginfo)(unsafe.Pointer(&seen)) //nolint:gosec // the same 128 bytes, with the field that unix hides
		err := unix.Waitid(unix.P_ALL, 0, into, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return Exit{}, false, true, nil
		case err != nil:
			return Exit{}, false, false, fmt.Errorf("looking for ended children: %w", err)
		case seen.pid == 0:
			return Exit{}, false, false, nil
		}
		beforehand(int(seen.pid))
		return wait(int(seen.pid))
	}
}

func wait(pid int) (exit Exit, ended, childless bool, err error) {
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return Exit{}, false, false, fmt.Errorf("waiting for process %d: %w", pid, err)
		}
		return exitOf(pid, status), true, false, nil
	}
}

// siginfo is siginfo_t with the field that package unix hides: the PID of the
// child (sigaction(2)). The layout is that of 64-bit Linux.
type siginfo struct {
	signo, errno, code int32
	_                  int32
	pid                int32
	_                  [108]byte
}
