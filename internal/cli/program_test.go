package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	testingclock "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// testProgram is a Program with nothing around it.
func testProgram(t *testing.T) (p *Program, out, err *bytes.Buffer) {
	t.Helper()
	out, err = &bytes.Buffer{}, &bytes.Buffer{}
	return New(Env{
		In: strings.NewReader(""), Out: out, Err: err, Width: 80,
		Lookup:        func(string) (string, bool) { return "", false },
		UserConfigDir: func() (string, error) { return t.TempDir(), nil },
		UserStateDir:  func() (string, error) { return t.TempDir(), nil },
		Clock:         testingclock.NewFakeClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)),
		Executable:    func() (string, error) { return "gco", nil },
	}), out, err
}

// each visits every command of the tree.
func each(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, child := range cmd.Commands() {
		each(child, visit)
	}
}

func TestEveryCommandHasAnExampleAndACompletion(t *testing.T) {
	p, _, _ := testProgram(t)
	each(p.Command(), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Example == "" {
			t.Errorf("%s has no example", path)
		}
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short is %q, want words without a full stop", path, cmd.Short)
		}
		for line := range strings.Lines(cmd.Example) {
			if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, "gco") {
				t.Errorf("%s: example %q does not run gco", path, line)
			}
		}
		if cmd.Args == nil {
			t.Errorf("%s takes whatever arguments", path)
		}
		// A command whose argument is a job, region or token completes it.
		for _, name := range []string{" JOB", " REGION", " ID"} {
			if strings.Contains(cmd.Use, name) && cmd.ValidArgsFunction == nil {
				t.Errorf("%s does not complete its argument", path)
			}
		}
	})
}

func TestExamplesNameCommandsAndFlagsThatExist(t *testing.T) {
	p, _, _ := testProgram(t)
	root := p.Command()
	each(root, func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			_, call, found := strings.Cut(line, "gco ")
			if !found {
				continue
			}
			call, _, _ = strings.Cut(call, "#")
			call, _, _ = strings.Cut(call, "|")
			call, _, _ = strings.Cut(call, ">")
			words := strings.Fields(strings.TrimRight(strings.TrimSpace(call), ")"))
			target, _, err := root.Find(words)
			if err != nil || target == root {
				t.Errorf("%s: example %q names no command: %v", cmd.CommandPath(), line, err)
				continue
			}
			for _, word := range words {
				name, isFlag := strings.CutPrefix(word, "--")
				if isFlag && target.Flag(name) == nil {
					t.Errorf("%s: example %q has the unknown flag --%s", cmd.CommandPath(), line, name)
				}
			}
		}
	})
}

func TestExitCodes(t *testing.T) {
	answer := func(status int) error { return &client.Error{Problem: api.Problem{Status: status}} }
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, ExitDone},
		{errors.New("x"), ExitFailed},
		{context.Canceled, ExitFailed},
		{&usageError{"gco", errors.New("x")}, ExitUsage},
		{answer(400), ExitRefused},
		{answer(401), ExitRefused},
		{answer(403), ExitRefused},
		{answer(404), ExitNotFound},
		{answer(409), ExitRefused},
		{answer(410), ExitRefused},
		{answer(422), ExitRefused},
		{answer(429), ExitRefused},
		{answer(500), ExitFailed},
		{answer(502), ExitUnreachable},
		{answer(503), ExitUnreachable},
		{answer(504), ExitUnreachable},
		{&client.Unreachable{Err: errors.New("refused")}, ExitUnreachable},
		{&jobsFailedError{[]string{"x"}}, ExitJobFailed},
	} {
		for _, err := range []error{test.err, errors.Join(test.err), fmt.Errorf("doing: %w", test.err)} {
			if test.err == nil && err != nil {
				continue
			}
			if got := exitCode(err); got != test.want {
				t.Errorf("exit code of %v = %d, want %d", err, got, test.want)
			}
		}
	}
	if len(exitCodes) != ExitJobFailed+1 {
		t.Errorf("the table of exit codes has %d rows, want %d", len(exitCodes), ExitJobFailed+1)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, test := range []struct{ args, says string }{
		{"frobnicate", `there is no command "frobnicate"`},
		{"job lisst", "did you mean list?"},
		{"jobs list extra", `unexpected argument "extra"`},
		{"jobs list --limit 0", "at least 1 expected"},
		{"jobs list --limit many", "--limit"},
		{"jobs list --state asleep", "one of queued, placed"},
		{"jobs list --label nonsense", "KEY=VALUE expected"},
		{"jobs list -o xml", "json, yaml, name"},
		{"jobs get", "JOB is missing"},
		{"jobs get a b", `unexpected argument "b"`},
		{"jobs cancel", "JOB is missing"},
		{"jobs logs a --tail -1", "can't be negative"},
		{"submit", "FILE or --template is missing"},
		{"submit x --nonsense", "unknown flag: --nonsense"},
		{"tokens create ci", "--role is needed"},
		{"up --regions Here", `"Here" is not a region name`},
		{"up --log-level loud", "--log-level loud"},
		{"agent", "--region is needed"},
		{"agent --region a", "kube or local expected"},
		{"top --every 1ms", "at least 100ms"},
		{"completion tcsh", `invalid argument "tcsh"`},
		{"config validate", "FILE is missing"},
	} {
		p, _, stderr := testProgram(t)
		if code := p.RunContext(t.Context(), strings.Fields(test.args)); code != ExitUsage {
			t.Errorf("gco %s: exit code %d, want %d", test.args, code, ExitUsage)
		}
		if !strings.Contains(stderr.String(), test.says) || !strings.Contains(stderr.String(), "--help") {
			t.Errorf("gco %s says %q, want %q and where help is", test.args, stderr, test.says)
		}
	}
}

func TestUnreachableServerNamesAddressAndWhatToDo(t *testing.T) {
	p, _, stderr := testProgram(t)
	// A port that nothing listens on: reserved, and never served.
	code := p.RunContext(t.Context(), []string{"regions", "list", "--addr", "127.0.0.1:1"})
	if code != ExitUnreachable {
		t.Errorf("exit code %d, want %d", code, ExitUnreachable)
	}
	for _, part := range []string{"127.0.0.1:1", "--addr", "gco up"} {
		if !strings.Contains(stderr.String(), part) {
			t.Errorf("%q lacks %q", stderr, part)
		}
	}
}

func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		p, stdout, stderr := testProgram(t)
		if code := p.RunContext(t.Context(), []string{"completion", shell}); code != ExitDone || stdout.Len() < 1000 {
			t.Errorf("completion %s: exit code %d, %d bytes, %s", shell, code, stdout.Len(), stderr)
		}
	}
}

// What the server says of a token and the advice under it must fit together.
func TestAdviceAboutATokenFitsWhatIsWrong(t *testing.T) {
	for _, test := range []struct{ token, detail, wants string }{
		{"", "this needs a token", "There is no token"},
		{"nonsense", "the Authorization header holds no token of GCO", "is none of GCO: those begin with gco_"},
		{"gco_a_b", "the token expired at 2026-01-01T00:00:00Z", "Pass another with --token-file"},
		{"gco_a_b", "the token is not known; it may have been deleted", "Pass another with --token-file"},
	} {
		p, _, _ := testProgram(t)
		p.flags.token = test.token
		text := p.describe(&client.Error{Problem: api.Problem{Status: 401, Detail: test.detail}})
		wants(t, test.detail, text, test.detail, test.wants)
		if strings.Contains(text, "does not know") {
			t.Errorf("%s: the advice says that the server does not know the token:\n%s", test.detail, text)
		}
	}
}
