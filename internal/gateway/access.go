package gateway

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// How long an answer of Access is good: a token that is deleted works for that
// long, and one that was good works for longer where nobody can be asked.
const (
	allowedFor  = 30 * time.Second
	refusedFor  = 5 * time.Second
	allowedLast = time.Hour
	maxKnown    = 10_000
)

// CachedAccess remembers what another Access said.
type CachedAccess struct {
	ask   Access
	clock clock.PassiveClock

	mu    sync.Mutex
	known map[accessKey]accessAnswer
}

// accessKey has the hash of a token, so that none is kept.
type accessKey struct {
	token    [sha256.Size]byte
	endpoint string
}

type accessAnswer struct {
	refusal *Refusal
	at      time.Time
}

// NewCachedAccess returns an Access that asks another one.
func NewCachedAccess(ask Access, clock clock.PassiveClock) *CachedAccess {
	return &CachedAccess{ask: ask, clock: clock, known: map[accessKey]accessAnswer{}}
}

// Allow is that of [Access].
func (c *CachedAccess) Allow(ctx context.Context, authorization, endpoint string) error {
	key := accessKey{sha256.Sum256([]byte(authorization)), endpoint}
	now := c.clock.Now()
	c.mu.Lock()
	known, found := c.known[key]
	c.mu.Unlock()
	if found && now.Sub(known.at) < known.good() {
		return known.err()
	}
	err := c.ask.Allow(ctx, authorization, endpoint)
	refusal, refused := errors.AsType[*Refusal](err)
	if err != nil && !refused {
		if found && known.refusal == nil && now.Sub(known.at) < allowedLast {
			return nil
		}
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= maxKnown {
		clear(c.known)
	}
	c.known[key] = accessAnswer{refusal: refusal, at: now}
	return err
}

func (a accessAnswer) good() time.Duration {
	if a.refusal != nil {
		return refusedFor
	}
	return allowedFor
}

func (a accessAnswer) err() error {
	if a.refusal != nil {
		return a.refusal
	}
	return nil
}
