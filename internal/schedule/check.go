package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/job"
)

// What a spec has where nothing is said.
const (
	DefaultTimeZone    = "UTC"
	DefaultMissedLimit = 10
)

// MaxMissedLimit is the most that Spec.MissedLimit may be.
const MaxMissedLimit = 10

// WithDefaults fills what the user left out.
func (s Spec) WithDefaults() Spec {
	s.TimeZone = cmp.Or(s.TimeZone, DefaultTimeZone)
	s.Missed = cmp.Or(s.Missed, MissedOnce)
	s.Concurrency = cmp.Or(s.Concurrency, Forbid)
	if s.Missed == MissedAll {
		s.MissedLimit = cmp.Or(s.MissedLimit, DefaultMissedLimit)
	}
	return s
}

// Validate lists every fault of a spec with its defaults.
func (s Spec) Validate() []job.Fault {
	var faults []job.Fault
	fault := func(field, format string, args ...any) {
		faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	zone := s.TimeZone
	if _, err := ParseZone(zone); err != nil {
		fault("timeZone", "%v", err)
		zone = DefaultTimeZone
	}
	if c, err := ParseCron(s.Cron, zone); err != nil {
		fault("cron", "%v", err)
	} else if c.spec.Next(anyTime).IsZero() {
		fault("cron", "%q names a time that never comes", s.Cron)
	}
	if !slices.Contains(MissedPolicies, s.Missed) {
		fault("missed", "%q is not one of %s", shorten(string(s.Missed)), list(MissedPolicies))
	}
	if !slices.Contains(ConcurrencyPolicies, s.Concurrency) {
		fault("concurrency", "%q is not one of %s", shorten(string(s.Concurrency)), list(ConcurrencyPolicies))
	}
	switch {
	case s.MissedLimit != 0 && s.Missed != MissedAll:
		fault("missedLimit", "is only for missed: all")
	case s.MissedLimit < 0 || s.MissedLimit > MaxMissedLimit:
		fault("missedLimit", "%d is not from 1 to %d", s.MissedLimit, MaxMissedLimit)
	}
	return faults
}

func list[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return strings.Join(texts, ", ")
}
