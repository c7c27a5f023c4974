package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"
	// A server may run where no time zones are installed.
	_ "time/tzdata"

	"github.com/robfig/cron/v3"
)

// maxCron bounds the text of an expression, in bytes.
const maxCron = 200

// Cron is a clock: an expression in a time zone.
//
// An expression that names hours goes by the clock on the wall: a time that
// the wall shows twice, when clocks go back, comes once, the first time; one
// that it leaves out, when they go forward, comes at the moment of the change.
// An expression that takes every hour goes by the time that passes, so that
// neither change makes a gap or a crowd.
type Cron struct {
	spec *cron.SpecSchedule
	zone *time.Location
	// wall says that the expression names hours.
	wall bool
}

// ParseCron reads the five fields of cron, or one of @hourly, @daily
// (@midnight), @weekly, @monthly and @yearly (@annually). zone is a name of the
// IANA database.
func ParseCron(text, zone string) (Cron, error) {
	switch {
	case text == "":
		return Cron{}, errors.New("is empty; write five fields such as \"30 2 * * *\", or @daily")
	case len(text) > maxCron:
		return Cron{}, fmt.Errorf("is %d bytes long; at most %d are allowed", len(text), maxCron)
	case strings.HasPrefix(text, "@every"):
		return Cron{}, errors.New("@every has no fixed times; write fields such as \"*/10 * * * *\"")
	case strings.Contains(text, "TZ="):
		return Cron{}, errors.New("has a time zone; that goes into timeZone")
	}
	location, err := ParseZone(zone)
	if err != nil {
		return Cron{}, err
	}
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return Cron{}, fmt.Errorf("%w; write five fields such as \"30 2 * * *\", or @daily", err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Cron{}, errors.New("has no fixed times")
	}
	const everyHour = 1<<24 - 1
	c := Cron{spec: spec, zone: location, wall: spec.Hour&everyHour != everyHour}
	spec.Location = location
	if c.wall {
		spec.Location = time.UTC
	}
	return c, nil
}

// ParseZone finds a time zone by its name; empty is UTC.
func ParseZone(name string) (*time.Location, error) {
	location, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone such as Europe/Berlin or UTC", shorten(name))
	}
	return location, nil
}

// Next is the first tick after a time, in UTC; zero if there is none in the
// next years, as for 30 February.
func (c Cron) Next(after time.Time) time.Time {
	if !c.wall {
		next := c.spec.Next(after)
		if next.IsZero() {
			return next
		}
		return next.UTC()
	}
	// The wall's own time is calculated with as if it were UTC, which has no
	// changes.
	for wall := c.spec.Next(onTheWall(after, c.zone)); !wall.IsZero(); wall = c.spec.Next(wall) {
		if next := moment(wall, c.zone); next.After(after) {
			return next.UTC()
		}
	}
	return time.Time{}
}

// Last returns the last ticks after one time and up to another, in their
// order, at most so many. It does not walk through all of a long time.
func (c Cron) Last(after, until time.Time, most int) []time.Time {
	for span := time.Hour; ; span *= 4 {
		from := until.Add(-span)
		whole := !from.After(after) || span > 50*366*24*time.Hour
		if whole {
			from = after
		}
		var ticks []time.Time
		for tick := c.Next(from); !tick.IsZero() && !tick.After(until); tick = c.Next(tick) {
			ticks = append(ticks, tick)
		}
		if whole || len(ticks) >= most {
			return ticks[max(0, len(ticks)-most):]
		}
	}
}

// onTheWall is what the wall's clock shows, as a time in UTC.
func onTheWall(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// moment is when the wall's clock first shows a time; for one that it leaves
// out, the moment of the change.
func moment(wall time.Time, zone *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, zone)
	begins, ends := t.ZoneBounds()
	switch shown := onTheWall(t, zone); {
	case shown.After(wall):
		return begins
	case shown.Before(wall):
		return ends
	case begins.IsZero():
		return t
	}
	_, now := t.Zone()
	_, before := begins.Add(-1).In(zone).Zone()
	if earlier := t.Add(time.Duration(now-before) * time.Second); earlier.Before(begins) && onTheWall(earlier, zone).Equal(wall) {
		return earlier
	}
	return t
}

func shorten(text string) string {
	const most = 80
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
