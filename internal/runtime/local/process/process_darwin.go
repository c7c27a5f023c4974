package process

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// trustGroups: no other sign is left of a process whose leader is gone.
const trustGroups = true

// Boot names the time since the host was started; another boot has another
// name.
func Boot() (string, error) {
	text, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("reading the boot's identity: %w", err)
	}
	return text, nil
}

// Now is the time since the boot on CLOCK_MONOTONIC, which on darwin goes on
// while the host sleeps: every process reads the same and nobody can set it.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic("process: no CLOCK_MONOTONIC: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// zombie is SZOMB of sys/proc.h.
const zombie = 5

func entryOf(info *unix.KinfoProc) Entry {
	started := info.Proc.P_starttime
	pid := int(info.Proc.P_pid)
	session, err := unix.Getsid(pid)
	if err != nil {
		session = 0
	}
	return Entry{
		Process: Process{PID: pid, Start: uint64(started.Sec)*1_000_000 + uint64(started.Usec)},
		Parent:  int(info.Eproc.Ppid),
		Group:   int(info.Eproc.Pgid),
		Session: session,
		Zombie:  info.Proc.P_stat == zombie,
	}
}

// Look returns the process that has the PID now.
func Look(pid int) (Entry, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if errors.Is(err, unix.EIO) || errors.Is(err, unix.ESRCH) {
		return Entry{}, ErrGone
	}
	if err != nil {
		return Entry{}, err
	}
	return entryOf(info), nil
}

// Table lists every process that this one may see.
func Table() ([]Entry, error) {
	infos, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("reading the process table: %w", err)
	}
	table := make([]Entry, len(infos))
	for i := range infos {
		table[i] = entryOf(&infos[i])
	}
	return table, nil
}

// Signal signals that process. Between the look and the signal the PID could
// be reused in theory: darwin has no handle on a process.
func (p Process) Signal(signal syscall.Signal) error {
	now, err := Look(p.PID)
	if err != nil || now.Process != p {
		return ErrGone
	}
	if err := syscall.Kill(p.PID, signal); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return ErrGone
		}
		return fmt.Errorf("signalling process %d: %w", p.PID, err)
	}
	return nil
}

// Environment is not to be had from other processes here: nil.
func Environment(int) []string { return nil }

// AdoptOrphans does nothing: darwin gives orphans to launchd.
func AdoptOrphans() error { return nil }

// Attributes start a process in a session and group of its own.
func Attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// Reap takes notice of one child that has ended, without waiting. beforehand
// is called with its PID. childless says that there is no child left.
func Reap(beforehand func(pid int)) (exit Exit, ended, childless bool, err error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD):
			return Exit{}, false, true, nil
		case err != nil:
			return Exit{}, false, false, fmt.Errorf("looking for ended children: %w", err)
		case pid == 0:
			return Exit{}, false, false, nil
		}
		beforehand(pid)
		return exitOf(pid, status), true, false, nil
	}
}
