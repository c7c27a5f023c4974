package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/aws/awstest"
	"github.com/gco-project/gco/internal/aws/identity"
	"github.com/gco-project/gco/internal/config"
)

// TestCallersOfAWS runs a control plane that lets roles of AWS in, and talks to
// it with credentials that the SDK finds and the client signs.
func TestCallersOfAWS(t *testing.T) {
	sts := awstest.StartSTS(t, "secret", map[string]string{
		"AKIDADMIN":  "arn:aws:sts::111122223333:assumed-role/gco-admin/ann",
		"AKIDTEAM":   "arn:aws:sts::111122223333:assumed-role/team-a-deploy/build-7",
		"AKIDNOBODY": "arn:aws:iam::111122223333:user/eve",
	}, clock.RealClock{}.Now)
	c := config.Default()
	c.Server.Listen = "127.0.0.1:0"
	c.Timing = c.Timing.Or(config.TimingOnLaptop)
	c.Auth = config.Auth{Audience: "gco.example.com", IAM: []config.IAMRule{
		{ARN: "arn:aws:iam::111122223333:role/gco-admin", Role: "admin"},
		{ARN: "arn:aws:iam::111122223333:role/team-a-*", Role: "submitter", Namespaces: []string{"default"}},
	}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	plane, err := OpenControlPlane(ctx, ControlPlaneOptions{
		Config: c, Dir: t.TempDir(), Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler), STS: sts,
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
	as := func(key, audience string) *client.Client {
		awstest.Environment(t, key, "secret", "eu-west-1")
		signer := identity.NewSigner(audience, clock.RealClock{})
		// The environment is read now: the next caller has another.
		if _, err := signer.Credential(t.Context()); err != nil {
			t.Fatal(err)
		}
		connected, err := client.New(plane.URL, "", client.WithTokenSource(signer.Credential))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(connected.Close)
		return connected
	}
	admin, team := as("AKIDADMIN", "gco.example.com"), as("AKIDTEAM", "gco.example.com")
	if _, err := admin.Tokens(t.Context()); err != nil {
		t.Errorf("an admin: %v", err)
	}
	if _, err := team.Tokens(t.Context()); !client.Is(err, api.ProblemForbidden) {
		t.Errorf("a submitter who lists tokens: %v", err)
	}
	if _, err := team.Jobs(t.Context(), client.JobFilter{}); err != nil {
		t.Errorf("a submitter who lists jobs: %v", err)
	}
	for says, stranger := range map[string]*client.Client{
		"user/eve may do nothing here": as("AKIDNOBODY", "gco.example.com"),
		"SignatureDoesNotMatch":        as("AKIDADMIN", "other.example.com"),
	} {
		if _, err := stranger.Jobs(t.Context(), client.JobFilter{}); !client.Is(err, api.ProblemUnauthenticated) || !strings.Contains(err.Error(), says) {
			t.Errorf("want %q: %v", says, err)
		}
	}
}

func TestWrongRulesAreFaultsOfTheFile(t *testing.T) {
	path := writeFile(t, `
auth:
  audience: gco.example.com
  iam:
    - {arn: 'arn:aws:iam::*:role/admin', role: admin}
    - {arn: 'arn:aws:iam::111122223333:role/x', role: agent}
    - {arn: 'arn:aws:iam::111122223333:role/y', role: admin, namespaces: [a]}
`)
	_, err := LoadConfig(path)
	if err == nil {
		t.Fatal("wrong rules are taken")
	}
	for _, want := range []string{"auth.iam[1].region: belongs to role agent", "auth.iam[2].namespaces: only have a meaning"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in\n%v", want, err)
		}
	}
	_, err = LoadConfig(writeFile(t, "auth: {audience: a, iam: [{arn: 'arn:aws:iam::*:role/admin', role: admin}]}"))
	if invalid, ok := errors.AsType[*config.Invalid](err); !ok || len(invalid.Faults) != 1 || invalid.Faults[0].Path != "auth.iam[0].arn" {
		t.Errorf("a role of any account: %v", err)
	}
	if _, err := LoadConfig(writeFile(t, "auth: {iam: [{arn: 'arn:aws:iam::111122223333:role/x', role: admin}]}")); err == nil || !strings.Contains(err.Error(), "auth.audience: is needed") {
		t.Errorf("rules without an audience: %v", err)
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gco.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
