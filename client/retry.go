package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

// pauses grow between attempts: first, then twice as long each time, up to
// most. Each is cut by a random part up to half, so that clients which lost
// the server together do not come back together.
type pauses struct {
	first, most time.Duration
	// wait is replaced in tests.
	wait func(context.Context, time.Duration) error
}

var defaultPauses = pauses{first: 100 * time.Millisecond, most: 5 * time.Second, wait: waitFor}

func waitFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p pauses) before(attempt int, err error) time.Duration {
	pause := p.first
	for range attempt - 1 {
		pause = min(2*pause, p.most)
	}
	pause -= time.Duration(rand.Int64N(int64(pause)/2 + 1))
	if answer, ok := errors.AsType[*Error](err); ok {
		pause = max(pause, answer.RetryAfter)
	}
	return pause
}

// repeat runs try until it succeeds, fails for good, or has been tried often
// enough. A Retry-After that is longer than the longest pause is the caller's
// to decide on.
func (c *Client) repeat(ctx context.Context, what call, try func() error) error {
	for attempt := 1; ; attempt++ {
		err := try()
		if err == nil || !what.repeat || what.stream != nil || attempt >= c.attempts || !passing(err) {
			return err
		}
		pause := c.pause.before(attempt, err)
		if pause > c.pause.most || c.pause.wait(ctx, pause) != nil {
			return err
		}
	}
}

// passing tells whether the fault may be gone the next time.
func passing(err error) bool {
	if answer, ok := errors.AsType[*Error](err); ok {
		switch answer.Problem.Status {
		case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
			return true
		}
		return false
	}
	_, ok := errors.AsType[*Unreachable](err)
	return ok
}
