package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
)

func jobsForTest() []api.Job {
	at := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	return []api.Job{
		{ID: "a", Namespace: "default", Name: "one", State: "running", Region: "us-east-1", Attempt: 2, SubmittedAt: at},
		{ID: "b", Namespace: "default", Name: "two", State: "queued", SubmittedAt: at, Reason: "no-capacity\x1b[2J\tnowhere"},
	}
}

func TestListInEveryFormat(t *testing.T) {
	for _, test := range []struct {
		format   format
		terminal bool
		want     string
	}{
		{"", false, "ID\tNAMESPACE\tNAME\tSTATE\tREGION\tATTEMPT\tSUBMITTED\tREASON\n" +
			"a\tdefault\tone\trunning\tus-east-1\t2\t2026-01-02T03:00:00Z\t\n" +
			"b\tdefault\ttwo\tqueued\t\t0\t2026-01-02T03:00:00Z\tno-capacity [2J nowhere\n"},
		{"", true, "ID  NAMESPACE  NAME  STATE    REGION     ATTEMPT  SUBMITTED  REASON\n" +
			"a   default    one   running  us-east-1  2        4m05s ago  -\n" +
			"b   default    two   queued   -          0        4m05s ago  no-capacity [2J no…\n"},
		{formatName, true, "a\nb\n"},
		{formatYAML, false, "items: 2\n"},
		{formatJSON, false, "{\n  \"items\": 2\n}\n"},
	} {
		p, out, _ := testProgram(t)
		p.Terminal = test.terminal
		p.Lookup = func(name string) (string, bool) { return "1", name == "NO_COLOR" }
		if err := printList(p, test.format, jobView(p), jobsForTest(), map[string]int{"items": 2}); err != nil {
			t.Fatal(err)
		}
		if out.String() != test.want {
			t.Errorf("format %q, terminal %v:\n%s\nwant\n%s", test.format, test.terminal, out, test.want)
		}
	}
}

func TestColorsOnATerminalOnly(t *testing.T) {
	for _, terminal := range []bool{true, false} {
		p, out, _ := testProgram(t)
		p.Terminal = terminal
		if err := printList(p, "", jobView(p), jobsForTest(), nil); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "\x1b["); got != terminal {
			t.Errorf("terminal %v: colours %v", terminal, got)
		}
	}
}

func TestMessagesCannotDriveTheTerminal(t *testing.T) {
	p, out, _ := testProgram(t)
	p.Terminal = true
	p.Lookup = func(name string) (string, bool) { return "1", name == "NO_COLOR" }
	if err := p.fields([]field{{"Why", "\x1b]0;owned\x07 a\nb"}}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "Why:   ]0;owned  a b\n" {
		t.Errorf("page = %q", got)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                    "0s",
		59 * time.Second:                "59s",
		61 * time.Second:                "1m01s",
		time.Hour + 5*time.Minute:       "1h05m",
		47*time.Hour + 59*time.Minute:   "47h59m",
		49 * time.Hour:                  "2d",
		23*time.Hour + 59*time.Minute:   "23h59m",
		999 * time.Millisecond:          "0s",
		59*time.Minute + 59*time.Second: "59m59s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%s) = %s, want %s", d, got, want)
		}
	}
}

func TestAmounts(t *testing.T) {
	for _, test := range []struct {
		name string
		n    int64
		want string
	}{
		{"cpu", 1500, "1.5"},
		{"cpu", 8000, "8"},
		{"memory", 32 << 30, "32Gi"},
		{"memory", 1536 << 20, "1.5Gi"},
		{"memory", 12, "12"},
		{"nvidia.com/gpu", 8, "8"},
	} {
		if got := amount(test.name, test.n); got != test.want {
			t.Errorf("%d of %s = %s, want %s", test.n, test.name, got, test.want)
		}
	}
	got := resources(map[string]int64{"memory": 1 << 30, "cpu": 1000, "nvidia.com/gpu": 1, "pods": 0})
	if got != "nvidia.com/gpu 1, cpu 1, memory 1Gi" {
		t.Errorf("resources = %q", got)
	}
}
