package schedule

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func at(t testing.TB, text string) time.Time {
	t.Helper()
	parsed, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func clockOf(t testing.TB, text, zone string) Cron {
	t.Helper()
	c, err := ParseCron(text, zone)
	if err != nil {
		t.Fatalf("%q in %s: %v", text, zone, err)
	}
	return c
}

// ticks lists some, in local time.
func ticks(c Cron, after time.Time, n int) string {
	var all []string
	for range n {
		after = c.Next(after)
		all = append(all, after.In(c.zone).Format("2006-01-02T15:04Z07:00"))
	}
	return strings.Join(all, " ")
}

func TestNext(t *testing.T) {
	tests := []struct{ cron, zone, after, want string }{
		{"30 2 * * *", "", "2030-01-01T02:30:00Z", "2030-01-02T02:30Z 2030-01-03T02:30Z"},
		{"30 2 * * *", "UTC", "2030-01-01T02:29:59Z", "2030-01-01T02:30Z"},
		{"@daily", "Asia/Kolkata", "2030-01-01T00:00:00Z", "2030-01-02T00:00+05:30"},
		{"0 9 * * MON-FRI", "UTC", "2030-01-04T10:00:00Z", "2030-01-07T09:00Z 2030-01-08T09:00Z"},
		{"*/20 * * * *", "UTC", "2030-01-01T00:01:00Z", "2030-01-01T00:20Z 2030-01-01T00:40Z 2030-01-01T01:00Z"},
		{"0 0 29 2 *", "UTC", "2030-01-01T00:00:00Z", "2032-02-29T00:00Z 2036-02-29T00:00Z"},
		// Clocks go forward at 02:00 on 31 March 2030 in Berlin: what falls
		// into the gap comes at its end.
		{"30 2 * * *", "Europe/Berlin", "2030-03-30T12:00:00+01:00", "2030-03-31T03:00+02:00 2030-04-01T02:30+02:00"},
		{"*/15 2,3 * * *", "Europe/Berlin", "2030-03-31T00:00:00+01:00", "2030-03-31T03:00+02:00 2030-03-31T03:15+02:00"},
		{"0 */2 * * *", "Europe/Berlin", "2030-03-31T00:00:00+01:00", "2030-03-31T03:00+02:00 2030-03-31T04:00+02:00"},
		{"30 * * * *", "Europe/Berlin", "2030-03-31T01:00:00+01:00", "2030-03-31T01:30+01:00 2030-03-31T03:30+02:00"},
		// Clocks go back at 03:00 on 27 October 2030: what comes twice comes
		// the first time, unless every hour is meant.
		{"30 2 * * *", "Europe/Berlin", "2030-10-27T00:00:00+02:00", "2030-10-27T02:30+02:00 2030-10-28T02:30+01:00"},
		{"30 2 * * *", "Europe/Berlin", "2030-10-27T02:10:00+01:00", "2030-10-28T02:30+01:00"},
		{"30 * * * *", "Europe/Berlin", "2030-10-27T02:00:00+02:00", "2030-10-27T02:30+02:00 2030-10-27T02:30+01:00 2030-10-27T03:30+01:00"},
		{"*/30 1-3 * * *", "Europe/Berlin", "2030-10-27T01:40:00+02:00", "2030-10-27T02:00+02:00 2030-10-27T02:30+02:00 2030-10-27T03:00+01:00"},
		// A change of half an hour, and a day that was left out.
		{"15 2 * * *", "Australia/Lord_Howe", "2030-10-05T12:00:00+10:30", "2030-10-06T02:30+11:00 2030-10-07T02:15+11:00"},
		{"0 12 * * *", "Pacific/Apia", "2011-12-29T11:00:00-10:00", "2011-12-29T12:00-10:00 2011-12-31T00:00+14:00 2011-12-31T12:00+14:00"},
		// Midnight itself is left out.
		{"0 0 * * *", "America/Santiago", "2030-09-07T12:00:00-04:00", "2030-09-08T01:00-03:00 2030-09-09T00:00-03:00"},
	}
	for _, test := range tests {
		c := clockOf(t, test.cron, test.zone)
		if got := ticks(c, at(t, test.after), strings.Count(test.want, " ")+1); got != test.want {
			t.Errorf("%s in %s after %s:\n got %s\nwant %s", test.cron, test.zone, test.after, got, test.want)
		}
	}
	if next := clockOf(t, "0 0 30 2 *", "UTC").Next(anyTime); !next.IsZero() {
		t.Errorf("30 February is %s", next)
	}
}

func TestParseCronRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "is empty",
		"* * * *":                 "expected exactly 5 fields",
		"0 0 0 * * *":             "expected exactly 5 fields",
		"60 * * * *":              "above maximum",
		"@every 1h":               "no fixed times",
		"@sometimes":              "unrecognized descriptor",
		"TZ=UTC * * * * *":        "goes into timeZone",
		"CRON_TZ=":                "goes into timeZone",
		strings.Repeat("*", 1000): "at most 200",
	} {
		if _, err := ParseCron(text, "UTC"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v; want %q", text, err, want)
		}
	}
	for _, zone := range []string{"Local", "Europe/Nowhere", "../etc/passwd", "+02:00"} {
		if _, err := ParseCron("* * * * *", zone); err == nil || !strings.Contains(err.Error(), "not a time zone") {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

// TestNextAgainstEveryMinute compares with a walk over the minutes, where no
// clock changes.
func TestNextAgainstEveryMinute(t *testing.T) {
	minutes := []string{"*", "0", "30", "*/7", "5-10", "1,59"}
	hours := []string{"*", "0", "23", "*/5", "8-17"}
	days := []string{"*", "1", "31", "MON", "SAT,SUN"}
	rapid.Check(t, func(t *rapid.T) {
		minute, hour, day := rapid.SampledFrom(minutes).Draw(t, "minute"), rapid.SampledFrom(hours).Draw(t, "hour"), rapid.SampledFrom(days).Draw(t, "day")
		month, week := day, "*"
		if strings.ContainsAny(day, "MS") {
			month, week = "*", day
		}
		c, err := ParseCron(strings.Join([]string{minute, hour, month, "*", week}, " "), "UTC")
		if err != nil {
			t.Fatal(err)
		}
		after := anyTime.Add(time.Duration(rapid.IntRange(0, 60*24*365).Draw(t, "after")) * time.Minute)
		next := c.Next(after)
		if !next.After(after) || next.Second() != 0 {
			t.Fatalf("after %s comes %s", after, next)
		}
		if again := c.Next(next.Add(-time.Nanosecond)); !again.Equal(next) {
			t.Fatalf("just before %s the next is %s", next, again)
		}
		if next.Sub(after) > time.Hour {
			if between := c.Next(after.Add(next.Sub(after) / 2)); !between.Equal(next) {
				t.Fatalf("between %s and %s comes %s", after, next, between)
			}
		}
	})
}

func TestNextOnlyGrows(t *testing.T) {
	zones := []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Santiago", "Africa/Casablanca"}
	crons := []string{"30 2 * * *", "*/10 1-3 * * *", "0 0 * * *", "*/30 * * * *", "0 */2 * * SUN"}
	rapid.Check(t, func(t *rapid.T) {
		c, err := ParseCron(rapid.SampledFrom(crons).Draw(t, "cron"), rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2010, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.IntRange(0, 60*24*365*25).Draw(t, "now")) * time.Minute)
		first := c.Next(now)
		second := c.Next(first)
		if !first.After(now) || !second.After(first) {
			t.Fatalf("after %s come %s and %s", now, first, second)
		}
		if got := c.Last(now, second, 10); !slices.EqualFunc(got, []time.Time{first, second}, time.Time.Equal) {
			t.Fatalf("from %s to %s come %v", now, second, got)
		}
	})
}

func TestLast(t *testing.T) {
	c := clockOf(t, "* * * * *", "UTC")
	until := at(t, "2030-01-01T00:00:30Z")
	for _, after := range []time.Time{until.Add(-3 * time.Minute), until.Add(-10 * 366 * 24 * time.Hour)} {
		got := c.Last(after, until, 2)
		if len(got) != 2 || !got[1].Equal(at(t, "2030-01-01T00:00:00Z")) || !got[0].Equal(got[1].Add(-time.Minute)) {
			t.Errorf("after %s: %v", after, got)
		}
	}
	if got := c.Last(until, until, 2); len(got) != 0 {
		t.Errorf("in no time: %v", got)
	}
	yearly := clockOf(t, "@yearly", "UTC")
	if got := yearly.Last(until.Add(-3*366*24*time.Hour), until, 5); len(got) != 4 {
		t.Errorf("three years: %v", got)
	}
	never := clockOf(t, "0 0 30 2 *", "UTC")
	if got := never.Last(time.Time{}, until, 5); len(got) != 0 {
		t.Errorf("never: %v", got)
	}
}

func FuzzParseCron(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/5 1-3,7 L * MON", "@daily", "@every 1s", "TZ= *", "0 0 31 2 *", "1-0 * * * *", "*/0 * * * *", "? ? ? ? ?"} {
		f.Add(seed, "Europe/Berlin")
	}
	now := time.Date(2030, 3, 31, 0, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text, zone string) {
		c, err := ParseCron(text, zone)
		if err != nil {
			return
		}
		next := c.Next(now)
		if !next.IsZero() && !next.After(now) {
			t.Fatalf("%q in %q: %s", text, zone, next)
		}
	})
}
