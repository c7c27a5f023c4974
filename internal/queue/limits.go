package queue

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limits bound what one user can do to the others.
type Limits struct {
	// QueuedPerNamespace bounds the waiting jobs of a namespace.
	QueuedPerNamespace int64
	// SubmissionsPerSecond bounds one identity's jobs; SubmissionBurst is how
	// many may come at once.
	SubmissionsPerSecond float64
	SubmissionBurst      int
}

// DefaultLimits leave room for a big batch and stop a runaway loop.
var DefaultLimits = Limits{
	QueuedPerNamespace:   2_000_000,
	SubmissionsPerSecond: 20_000,
	SubmissionBurst:      40_000,
}

func (l Limits) withDefaults() Limits {
	return Limits{
		QueuedPerNamespace:   cmp.Or(l.QueuedPerNamespace, DefaultLimits.QueuedPerNamespace),
		SubmissionsPerSecond: cmp.Or(l.SubmissionsPerSecond, DefaultLimits.SubmissionsPerSecond),
		SubmissionBurst:      cmp.Or(l.SubmissionBurst, DefaultLimits.SubmissionBurst),
	}
}

// Limited says that a limit was reached, and when to try again.
type Limited struct {
	RetryAfter time.Duration
	Message    string
}

func (e *Limited) Error() string { return e.Message }

// submissionLimits is a token bucket an identity. It lives in memory: each
// server enforces its share.
type submissionLimits struct {
	limits  Limits
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

func newSubmissionLimits(limits Limits) *submissionLimits {
	return &submissionLimits{limits: limits, buckets: map[string]*rate.Limiter{}}
}

// take allows n submissions now, or none. Identities are as many as tokens,
// so the map stays small.
func (s *submissionLimits) take(identity string, n int, now time.Time) error {
	s.mu.Lock()
	bucket := s.buckets[identity]
	if bucket == nil {
		bucket = rate.NewLimiter(rate.Limit(s.limits.SubmissionsPerSecond), s.limits.SubmissionBurst)
		s.buckets[identity] = bucket
	}
	s.mu.Unlock()
	if bucket.AllowN(now, n) {
		return nil
	}
	missing := float64(n) - bucket.TokensAt(now)
	wait := time.Duration(missing / s.limits.SubmissionsPerSecond * float64(time.Second))
	return &Limited{
		RetryAfter: max(wait, time.Second),
		Message:    fmt.Sprintf("%q submits more than %g jobs a second; try again later", identity, s.limits.SubmissionsPerSecond),
	}
}
