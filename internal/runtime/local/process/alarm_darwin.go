package process

import "time"

// Alarm rings at a time of Now. After a sleep of the host it may ring late by
// as long as the host slept: Go's timers stand still meanwhile.
type Alarm struct {
	// C receives one value each time that the alarm rings.
	C     <-chan struct{}
	timer *time.Timer
}

// NewAlarm returns an alarm that is not set.
func NewAlarm() (*Alarm, error) {
	rings := make(chan struct{}, 1)
	timer := time.AfterFunc(time.Hour, func() {
		select {
		case rings <- struct{}{}:
		default:
		}
	})
	timer.Stop()
	return &Alarm{C: rings, timer: timer}, nil
}

// Set makes the alarm ring at that time, at once if it has passed, and at no
// earlier set one.
func (a *Alarm) Set(at time.Duration) error {
	a.timer.Reset(max(at-Now(), 0))
	return nil
}

// Close stops the alarm.
func (a *Alarm) Close() error {
	a.timer.Stop()
	return nil
}
