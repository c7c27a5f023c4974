package process

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Alarm rings at a time of Now. It is a timer of the kernel, since Go's own
// timers stand still while the host sleeps.
type Alarm struct {
	// C receives one value each time that the alarm rings.
	C    <-chan struct{}
	file *os.File
}

// NewAlarm returns an alarm that is not set.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making a timer: %w", err)
	}
	rings := make(chan struct{}, 1)
	alarm := &Alarm{C: rings, file: os.NewFile(uintptr(fd), "timer")}
	go func() {
		var count [8]byte
		for {
			if _, err := alarm.file.Read(count[:]); err != nil {
				return
			}
			if binary.NativeEndian.Uint64(count[:]) == 0 {
				continue
			}
			select {
			case rings <- struct{}{}:
			default:
			}
		}
	}()
	return alarm, nil
}

// Set makes the alarm ring at that time, at once if it has passed, and at no
// earlier set one.
func (a *Alarm) Set(at time.Duration) error {
	connection, err := a.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("setting a timer: %w", err)
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(max(at, 1)))}
	var failed error
	err = connection.Control(func(fd uintptr) {
		failed = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil)
	})
	if err := cmp.Or(err, failed); err != nil {
		return fmt.Errorf("setting a timer: %w", err)
	}
	return nil
}

// Close stops the alarm.
func (a *Alarm) Close() error { return a.file.Close() }
