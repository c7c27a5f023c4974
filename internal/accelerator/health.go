package accelerator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// verdict is what the checks of one endpoint say together: it changes when so
// many in a row contradict it. The first check decides alone.
type verdict struct {
	threshold int
	known     bool
	healthy   bool
	// against counts the checks in a row that contradict it.
	against int
}

// observe takes one more check into account.
func (v *verdict) observe(passed bool) (changed bool) {
	if v.known && passed == v.healthy {
		v.against = 0
		return false
	}
	v.against++
	if v.known && v.against < v.threshold {
		return false
	}
	v.known, v.healthy, v.against = true, passed, 0
	return true
}

// watch checks one endpoint until ctx ends. It calls first once the first
// check has been made.
//
// A check comes an interval after the last one began. A connection that failed
// brings the next one forward, but only while all is well: the checks that
// follow a failed one keep their distance, so that a burst of failed
// connections says no more than one.
func (a *Accelerator) watch(ctx context.Context, t *target, first func()) error {
	check := a.options.HealthCheck
	client := newCheckClient()
	defer client.CloseIdleConnections()
	v := &verdict{threshold: check.Threshold}
	for begun := false; ; begun = true {
		start := a.options.Clock.Now()
		err := runCheck(ctx, client, "http://"+t.checked+check.Path, min(check.Timeout, check.Interval))
		if ctx.Err() != nil {
			if !begun {
				first()
			}
			return nil
		}
		a.checked(t, v, err)
		if !begun {
			first()
		}
		if !a.pause(ctx, t, v, start) {
			return nil
		}
	}
}

// pause waits until the next check is due; false when ctx has ended.
func (a *Accelerator) pause(ctx context.Context, t *target, v *verdict, start time.Time) bool {
	interval := a.options.HealthCheck.Interval
	var woken chan struct{}
	if v.healthy && v.against == 0 {
		woken = t.woken
	}
	timer := a.options.Clock.NewTimer(interval - a.options.Clock.Since(start))
	defer timer.Stop()
	select {
	case <-woken:
		// Not at once: what woke it may be one failure of very many.
		timer.Reset(interval/wokenPart - a.options.Clock.Since(start))
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// wokenPart is the part of an interval that stays between two checks, whatever
// fails.
const wokenPart = 10

// checked takes the result of one check.
func (a *Accelerator) checked(t *target, v *verdict, err error) {
	if err == nil {
		t.passed.Inc()
	} else {
		t.failed.Inc()
	}
	known := v.known
	if !v.observe(err == nil) {
		return
	}
	state := stateUnhealthy
	if v.healthy {
		state = stateHealthy
	}
	t.state.Store(state)
	t.healthyMetric.Set(number(v.healthy))
	switch log := a.log.With("region", t.region, "endpoint", t.name); {
	case !v.healthy:
		log.Warn("an endpoint is unhealthy", "check", t.checked, "error", err)
	case known:
		log.Info("an endpoint is healthy again", "check", t.checked)
	default:
		log.Info("an endpoint is healthy", "check", t.checked)
	}
	a.rebuild()
}

// newCheckClient makes a connection for each check, since taking one is what
// is asked about, and follows nobody elsewhere.
func newCheckClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// runCheck makes one check.
func runCheck(ctx context.Context, client *http.Client, url string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no answer within %s", timeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "gco-accelerator")
	response, err := client.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			return cause
		}
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}
