package backup

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Activity is a backup that is being made or verified, or was lately.
type Activity struct {
	ID   string
	Kind Kind
	// Verifying tells verifying from making.
	Verifying bool
	BegunAt   time.Time
	// EndedAt is zero while it goes on.
	EndedAt time.Time
	Err     error
}

// keptActivities is how many that have ended are remembered.
const keptActivities = 20

// Turns lets one activity go on at a time, and remembers what came of the last
// ones.
type Turns struct {
	clock clock.PassiveClock
	log   *slog.Logger

	mu      sync.Mutex
	current *Activity
	ended   []Activity
	last    map[Kind]time.Time
	failed  map[Kind]int64
}

// NewTurns returns one at which nothing goes on.
func NewTurns(c clock.PassiveClock, log *slog.Logger) *Turns {
	return &Turns{clock: c, log: log, last: map[Kind]time.Time{}, failed: map[Kind]int64{}}
}

// Take begins an activity, or returns ErrBusy. done ends it.
func (t *Turns) Take(a Activity) (begun Activity, done func(error), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current != nil {
		return Activity{}, nil, ErrBusy
	}
	a.BegunAt = t.clock.Now().UTC()
	t.current = &a
	return a, func(err error) { t.end(a, err) }, nil
}

func (t *Turns) end(a Activity, err error) {
	a.EndedAt, a.Err = t.clock.Now().UTC(), err
	log := t.log.With("backup", a.ID, "kind", a.Kind, "took", a.EndedAt.Sub(a.BegunAt))
	switch {
	case err != nil && a.Verifying:
		log.Error("verifying a backup failed", "error", err)
	case err != nil:
		log.Error("making a backup failed", "error", err)
	case a.Verifying:
		log.Info("backup verified")
	default:
		log.Info("backup made")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current = nil
	if t.ended = append(t.ended, a); len(t.ended) > keptActivities {
		t.ended = t.ended[1:]
	}
	if err != nil {
		t.failed[a.Kind]++
	} else if !a.Verifying {
		t.last[a.Kind] = a.BegunAt
	}
}

// Activities lists what goes on and what lately did, the newest last.
func (t *Turns) Activities() []Activity {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := slices.Clone(t.ended)
	if t.current != nil {
		all = append(all, *t.current)
	}
	return all
}

// Remember notes when the last backup of each kind was made.
func (t *Turns) Remember(all []Backup) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range all {
		if b.CreatedAt.After(t.last[b.Kind]) {
			t.last[b.Kind] = b.CreatedAt
		}
	}
}

// Tally counts backups, by kind.
type Tally struct {
	// Last is when the newest one was made; kinds without one are missing.
	Last map[Kind]time.Time
	// Failed counts what was tried in vain since the start.
	Failed map[Kind]int64
}

// Tally counts what was done.
func (t *Turns) Tally() Tally {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Tally{maps.Clone(t.last), maps.Clone(t.failed)}
}
