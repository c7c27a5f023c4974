package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

var newTokenShape = shapeOf[api.NewToken]()

// Issue makes a token and returns its text, which can be seen this once. The
// errors are *job.Invalid with every fault, and store.ErrConflict when the
// name is taken.
func Issue(ctx context.Context, tokens store.Tokens, request api.NewToken, now time.Time) (api.CreatedToken, error) {
	token, faults := tokenOf(request, now)
	if len(faults) > 0 {
		return api.CreatedToken{}, &job.Invalid{Faults: faults}
	}
	var text string
	token.ID, text = newSecret()
	token.Hash = hashOf(text)
	if err := tokens.CreateToken(ctx, token); err != nil {
		return api.CreatedToken{}, fmt.Errorf("making token %q: %w", token.Name, err)
	}
	return api.CreatedToken{Token: tokenOnWire(token), Secret: text}, nil
}

// tokenOf checks a request. A token that says more than its role can use is
// refused: whoever wrote it expects it to be narrower, or wider, than it is.
func tokenOf(request api.NewToken, now time.Time) (store.Token, []job.Fault) {
	var faults []job.Fault
	add := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
		}
	}
	role := Role(request.Role)
	const maxName, maxList = 100, 100
	add(len(request.Name) > 0 && len(request.Name) <= maxName && printable(request.Name),
		"name", "should be 1 to %d printable ASCII characters without spaces", maxName)
	add(slices.Contains(Roles, role), "role", "%q is not one of %v", request.Role, Roles)
	add(role == Agent || request.Region == "", "region", "only has a meaning with role agent")
	add(role != Agent || job.ValidRegionName(request.Region), "region", "%q is not a region name (a DNS label); role agent needs one", request.Region)
	add(role == Submitter || role == Viewer || len(request.Namespaces) == 0, "namespaces", "only have a meaning with roles submitter and viewer")
	add(role == Invoker || len(request.Endpoints) == 0, "endpoints", "only have a meaning with role invoker")
	for field, names := range map[string][]string{"namespaces": request.Namespaces, "endpoints": request.Endpoints} {
		add(len(names) <= maxList, field, "%d names; at most %d are allowed", len(names), maxList)
		for i, name := range names[:min(len(names), maxList)] {
			// Namespaces follow the rule of regions: a DNS label.
			add(job.ValidRegionName(name), fmt.Sprintf("%s[%d]", field, i), "%q is not a DNS label", name)
		}
	}
	token := store.Token{
		Name: request.Name, Role: request.Role, Namespaces: request.Namespaces,
		Region: request.Region, Endpoints: request.Endpoints, CreatedAt: now,
	}
	if request.ExpiresIn != "" {
		d, err := time.ParseDuration(request.ExpiresIn)
		add(err == nil && d > 0, "expiresIn", "%q is not a positive duration such as 720h", request.ExpiresIn)
		token.ExpiresAt = now.Add(d)
	}
	slices.SortFunc(faults, func(a, b job.Fault) int { return strings.Compare(a.Field, b.Field) })
	return token, faults
}

func (c *call) createToken() error {
	var request api.NewToken
	if err := c.readJSON(newTokenShape, &request); err != nil {
		return err
	}
	created, err := Issue(c.r.Context(), c.store, request, c.clock.Now())
	if errors.Is(err, store.ErrConflict) {
		return newProblem(api.ProblemConflict, "there is a token named %q already", request.Name)
	}
	if err != nil {
		return err
	}
	c.log.Info("token created", "token", created.ID, "name", created.Name, "role", created.Role, "by", c.who.name)
	c.w.Header().Set("Location", "/api/v1/tokens/"+created.ID)
	return c.json(http.StatusCreated, created)
}

func (c *call) listTokens() error {
	tokens, err := c.store.Tokens(c.r.Context())
	if err != nil {
		return fmt.Errorf("listing tokens: %w", err)
	}
	list := api.TokenList{Items: make([]api.Token, len(tokens))}
	for i, token := range tokens {
		list.Items[i] = tokenOnWire(token)
	}
	return c.json(http.StatusOK, list)
}

// token finds the token in the path. Tokens are few, so there is no index.
func (c *call) token() (store.Token, error) {
	tokens, err := c.store.Tokens(c.r.Context())
	if err != nil {
		return store.Token{}, fmt.Errorf("listing tokens: %w", err)
	}
	id := c.r.PathValue("id")
	i := slices.IndexFunc(tokens, func(t store.Token) bool { return t.ID == id })
	if i < 0 {
		return store.Token{}, newProblem(api.ProblemNotFound, "there is no token %q", shorten([]byte(id)))
	}
	return tokens[i], nil
}

func (c *call) showToken() error {
	token, err := c.token()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, tokenOnWire(token))
}

// deleteToken ends a token. The last admin's token stays, or nobody could
// ever make another.
func (c *call) deleteToken() error {
	token, err := c.token()
	if err != nil {
		return err
	}
	if Role(token.Role) == Admin {
		last, err := c.lastAdmin(token)
		if err != nil {
			return err
		}
		if last {
			return newProblem(api.ProblemConflict, "without it no admin's token would be left that does not expire; make another first")
		}
	}
	if err := c.store.DeleteToken(c.r.Context(), token.ID); err != nil {
		return fmt.Errorf("deleting token %s: %w", token.ID, err)
	}
	c.auth.forget(token.ID)
	c.log.Info("token deleted", "token", token.ID, "name", token.Name, "by", c.who.name)
	return c.nothing()
}

func (c *call) lastAdmin(token store.Token) (bool, error) {
	tokens, err := c.store.Tokens(c.r.Context())
	if err != nil {
		return false, fmt.Errorf("listing tokens: %w", err)
	}
	return !slices.ContainsFunc(tokens, func(t store.Token) bool {
		return t.ID != token.ID && Role(t.Role) == Admin && t.ExpiresAt.IsZero()
	}), nil
}
