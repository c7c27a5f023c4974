package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
)

// How long the store may take to prove that it works, and for how long the
// proof is good: each costs a durable write, and anyone may ask.
const (
	storeTimeout = 2 * time.Second
	storeProof   = time.Second
)

// The states of a check.
const (
	checkOK       = "ok"
	checkDegraded = "degraded"
	checkFailed   = "failed"
)

// storeCheck remembers whether the store worked.
type storeCheck struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// storeWorks makes a durable write, unless one was made just now.
func (s *Server) storeWorks(ctx context.Context) error {
	s.proof.mu.Lock()
	defer s.proof.mu.Unlock()
	now := s.clock.Now()
	if !s.proof.at.IsZero() && now.Sub(s.proof.at) < storeProof {
		return s.proof.err
	}
	// Others share the proof, so the first one's leaving must not spoil it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	s.proof.err, s.proof.at = s.store.Ping(ctx), now
	return s.proof.err
}

// health tells what works, check by check. It is answered with 200 even where
// something does not: another region's control plane would share the store
// and the leader, and so do no better.
func (c *call) health() error {
	health := api.Health{Status: checkOK}
	add := func(name, status, message string) {
		health.Checks = append(health.Checks, api.HealthCheck{Name: name, Status: status, Message: message})
		if status == checkFailed || status == checkDegraded && health.Status == checkOK {
			health.Status = status
		}
	}
	if err := c.storeWorks(c.r.Context()); err != nil {
		add("store", checkFailed, "the store does not take writes")
	} else {
		add("store", checkOK, "")
	}
	if c.queue.Leading() {
		add("leader", checkOK, "this server leads")
	} else {
		add("leader", checkDegraded, "this server does not lead; where no other one does, nothing is placed")
	}
	status, message := c.regionHealth(c.r.Context())
	add("regions", status, message)
	return c.json(http.StatusOK, health)
}

func (c *call) regionHealth(ctx context.Context) (status, message string) {
	regions, err := c.store.Regions(ctx)
	if err != nil {
		return checkFailed, "the regions cannot be read"
	}
	live := 0
	var awaited []string
	for _, r := range regions {
		if r.Lease == capacity.LeaseLive {
			live++
		}
		if !r.AwaitedSince.IsZero() {
			awaited = append(awaited, r.Name)
		}
	}
	if len(awaited) > 0 {
		return checkDegraded, "the data were restored, and nothing starts until these regions have sent their inventory or are written off: " + strings.Join(awaited, ", ")
	}
	message = fmt.Sprintf("%d of %d regions have a live agent", live, len(regions))
	if live == 0 || live < len(regions) {
		return checkDegraded, message
	}
	return checkOK, message
}

// alive answers as soon as the process serves at all.
func (c *call) alive() error {
	return c.json(http.StatusOK, api.Health{Status: checkOK, Checks: []api.HealthCheck{}})
}

// ready answers 200 while requests can be served.
func (c *call) ready() error {
	if c.ending.Err() != nil {
		return errStopping
	}
	if err := c.storeWorks(c.r.Context()); err != nil {
		p := newProblem(api.ProblemUnavailable, "the store does not take writes").with("Retry-After", "1")
		p.cause = err
		return p
	}
	return c.alive()
}
