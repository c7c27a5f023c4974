package backup

import (
	"slices"
	"time"
)

// Rule makes backups of one kind at regular times and keeps each for a while.
type Rule struct {
	Kind Kind
	// At is the time of day in UTC.
	At time.Duration
	// Weekday is the only day, for Weekly.
	Weekday time.Weekday
	// Keep is for how long a backup stays; 0 makes none at all.
	Keep time.Duration
}

const day = 24 * time.Hour

// due is the last time, at or before now, at which a backup should have been
// made.
func (r Rule) due(now time.Time) time.Time {
	now = now.UTC()
	due := now.Truncate(day).Add(r.At)
	if due.After(now) {
		due = due.Add(-day)
	}
	if r.Kind == Weekly {
		back := (int(due.Weekday()) - int(r.Weekday) + 7) % 7
		due = due.AddDate(0, 0, -back)
	}
	return due
}

// missing lists the rules whose last backup is older than it should be: the
// server was down then, or it failed.
func missing(rules []Rule, all []Backup, now time.Time) []Rule {
	var late []Rule
	for _, rule := range rules {
		due := rule.due(now)
		made := slices.ContainsFunc(all, func(b Backup) bool { return b.Kind == rule.Kind && !b.CreatedAt.Before(due) })
		if rule.Keep > 0 && !made {
			late = append(late, rule)
		}
	}
	return late
}

// expired lists the backups that may be removed. The newest of all stays,
// whatever its age: a server that made none for long should not lose its last
// one.
func expired(all []Backup, now time.Time) []Backup {
	var gone []Backup
	for i, b := range all {
		if i > 0 && !b.ExpiresAt.IsZero() && !now.Before(b.ExpiresAt) {
			gone = append(gone, b)
		}
	}
	return gone
}
