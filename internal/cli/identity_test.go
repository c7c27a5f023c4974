package cli

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/aws/awstest"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

// TestCommandsOfACallerOfAWS runs commands with credentials of AWS against a
// control plane that lets their role in.
func TestCommandsOfACallerOfAWS(t *testing.T) {
	wall := clock.RealClock{}
	sts := awstest.StartSTS(t, "secret", map[string]string{"AKIDADMIN": "arn:aws:sts::111122223333:assumed-role/gco-admin/ann"}, wall.Now)
	awstest.Environment(t, "AKIDADMIN", "secret", "eu-west-1")
	c := config.Default()
	c.Server.Listen = "127.0.0.1:0"
	c.Timing = c.Timing.Or(config.TimingOnLaptop)
	c.Auth = config.Auth{Audience: "127.0.0.1", IAM: []config.IAMRule{{ARN: "arn:aws:iam::111122223333:role/gco-*", Role: "admin"}}}
	ctx, stop := context.WithCancel(t.Context())
	plane, err := daemon.OpenControlPlane(ctx, daemon.ControlPlaneOptions{
		Config: c, Dir: t.TempDir(), Clock: wall, Log: slog.New(slog.DiscardHandler), STS: sts,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- plane.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	run := func(lookup func(string) (string, bool), args ...string) (int, string) {
		p, out, errs := testProgram(t)
		p.Clock, p.Lookup = wall, lookup
		code := p.RunContext(t.Context(), append(args, "--addr", plane.URL))
		return code, out.String() + errs.String()
	}
	for name, test := range map[string]struct {
		env  map[string]string
		args []string
		code int
		says string
	}{
		"by flag":          {nil, []string{"tokens", "list", "--auth", "aws-iam"}, ExitDone, "admin"},
		"by environment":   {map[string]string{"GCO_AUTH": "aws-iam"}, []string{"tokens", "list"}, ExitDone, "admin"},
		"another audience": {nil, []string{"tokens", "list", "--auth", "aws-iam", "--audience", "other"}, ExitRefused, "SignatureDoesNotMatch"},
		"what is in force": {nil, []string{"config", "show", "--auth", "aws-iam"}, ExitDone, "Audience\t127.0.0.1"},
	} {
		code, said := run(func(name string) (string, bool) {
			if value, ok := test.env[name]; ok {
				return value, true
			}
			return os.LookupEnv(name)
		}, test.args...)
		if code != test.code || !strings.Contains(said, test.says) {
			t.Errorf("%s: exit %d, want %d with %q: %s", name, code, test.code, test.says, said)
		}
	}
}
