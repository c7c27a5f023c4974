package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/gco-project/gco/api"
)

// Identifier knows callers by credentials that are no tokens of GCO.
type Identifier interface {
	// Takes tells whether a credential is of its kind.
	Takes(credential string) bool
	// Identify finds who is behind a credential, and what they may do. An error
	// is a *Refusal, ErrIdentity, or the context's.
	Identify(ctx context.Context, credential string) (Identity, error)
}

// Identity is a caller whom an Identifier knows.
type Identity struct {
	// Name is what jobs and idempotency keys carry.
	Name string
	Role Role
	// Namespaces limit submitter and viewer; empty is all of them.
	Namespaces []string
	// Region is the one that an agent speaks for.
	Region string
}

// Refusal says to the caller why a credential is not taken.
type Refusal struct{ Message string }

func (r *Refusal) Error() string { return r.Message }

// ErrIdentity says that who is behind a credential cannot be found out now.
var ErrIdentity = errors.New("cannot find out who calls")

// identify reads a credential that is no token.
func (a *authenticator) identify(ctx context.Context, credential string) (principal, error) {
	identity, err := a.foreign.Identify(ctx, credential)
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return principal{}, unauthenticated("%s", refusal.Message)
	}
	if errors.Is(err, ErrIdentity) {
		p := newProblem(api.ProblemUnavailable, "who is behind the credential cannot be found out now; try again").with("Retry-After", "1")
		p.cause = err
		return principal{}, p
	}
	if err != nil {
		return principal{}, fmt.Errorf("finding out who calls: %w", err)
	}
	return principal{
		id: identity.Name, name: identity.Name, role: identity.Role,
		namespaces: identity.Namespaces, region: identity.Region,
	}, nil
}
