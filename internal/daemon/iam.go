package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/aws/identity"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/server"
)

// iamCallers lets users and roles of AWS in, by the rules of the
// configuration.
type iamCallers struct {
	verifier *identity.Verifier
	rules    []config.IAMRule
	patterns []identity.Pattern
	log      *slog.Logger
}

var _ server.Identifier = (*iamCallers)(nil)

// newIAMCallers returns nil where the configuration lets nobody in. sts carries
// the requests to STS; nil is the network.
func newIAMCallers(auth config.Auth, sts http.RoundTripper, clock clock.PassiveClock, log *slog.Logger) (server.Identifier, error) {
	if len(auth.IAM) == 0 {
		return nil, nil //nolint:nilnil // no rules, no identifier
	}
	c := &iamCallers{rules: auth.IAM, log: log, verifier: identity.NewVerifier(identity.VerifierOptions{
		Audience: auth.Audience, Regions: config.AWSRegions(), Clock: clock, Transport: sts,
	})}
	for _, rule := range auth.IAM {
		pattern, err := identity.ParsePattern(rule.ARN)
		if err != nil {
			return nil, err
		}
		c.patterns = append(c.patterns, pattern)
	}
	return c, nil
}

// iamFaults are what newIAMCallers would refuse.
func iamFaults(auth config.Auth) []config.Fault {
	var faults []config.Fault
	for i, rule := range auth.IAM {
		if _, err := identity.ParsePattern(rule.ARN); err != nil && rule.ARN != "" {
			faults = append(faults, config.Fault{Path: fmt.Sprintf("auth.iam[%d].arn", i), Message: err.Error()})
		}
	}
	return faults
}

func (c *iamCallers) Takes(credential string) bool {
	return strings.HasPrefix(credential, identity.Prefix)
}

// Identify names a role's session by the role: a job that is submitted again
// after a restart comes from another session, and is the same job.
func (c *iamCallers) Identify(ctx context.Context, credential string) (server.Identity, error) {
	caller, err := c.verifier.Verify(ctx, credential)
	switch {
	case errors.Is(err, identity.ErrRefused):
		return server.Identity{}, &server.Refusal{Message: err.Error()}
	case errors.Is(err, identity.ErrUnavailable):
		return server.Identity{}, fmt.Errorf("%w: %w", server.ErrIdentity, err)
	case err != nil:
		return server.Identity{}, err
	}
	i := slices.IndexFunc(c.patterns, func(p identity.Pattern) bool { return p.Matches(caller) })
	if i < 0 {
		return server.Identity{}, &server.Refusal{Message: caller.ARN + " may do nothing here: no rule of auth.iam fits it"}
	}
	rule := c.rules[i]
	c.log.Debug("identified", "arn", caller.ARN, "session", caller.Session, "role", rule.Role)
	return server.Identity{Name: caller.ARN, Role: server.Role(rule.Role), Namespaces: rule.Namespaces, Region: rule.Region}, nil
}
