package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/store"
)

// A token is written gco_<id>_<secret>. The ID names it in lists and logs;
// the store keeps the SHA-256 of the whole text. That needs no salt and no
// slow hash, because the secret is 160 random bits.
const (
	tokenPrefix  = "gco_"
	tokenIDBytes = 5
	secretBytes  = 20
	maxTokenText = 128
)

// How long a token that was looked up is taken without another look, and how
// many are remembered. A token that is deleted on another server works for
// that long.
const (
	tokenTTL  = 5 * time.Second
	maxTokens = 10_000
)

var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// newSecret returns the text of a fresh token and its ID.
func newSecret() (id, text string) {
	random := make([]byte, tokenIDBytes+secretBytes)
	// rand.Read never fails.
	_, _ = rand.Read(random)
	id = tokenText.EncodeToString(random[:tokenIDBytes])
	return id, tokenPrefix + id + "_" + tokenText.EncodeToString(random[tokenIDBytes:])
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// Bootstrap makes a first token with role admin if the store has no token at
// all, and returns its text: the only time that it can be seen. Without that
// nobody could ever make one. An empty text says that there are tokens.
func Bootstrap(ctx context.Context, tokens store.Tokens, now time.Time) (text string, err error) {
	existing, err := tokens.Tokens(ctx)
	if err != nil {
		return "", fmt.Errorf("looking for tokens: %w", err)
	}
	if len(existing) > 0 {
		return "", nil
	}
	id, text := newSecret()
	token := store.Token{ID: id, Name: "admin", Hash: hashOf(text), Role: string(Admin), CreatedAt: now}
	err = tokens.CreateToken(ctx, token)
	if errors.Is(err, store.ErrConflict) {
		// Another server was faster.
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("making the first token: %w", err)
	}
	return text, nil
}

// authenticator finds the principal of a request.
type authenticator struct {
	tokens  store.Tokens
	foreign Identifier
	clock   clock.PassiveClock

	mu    sync.RWMutex
	known map[string]knownToken
}

type knownToken struct {
	token  store.Token
	readAt time.Time
}

func newAuthenticator(tokens store.Tokens, foreign Identifier, clock clock.PassiveClock) *authenticator {
	return &authenticator{tokens: tokens, foreign: foreign, clock: clock, known: map[string]knownToken{}}
}

// principal reads the bearer token of a request.
func (a *authenticator) principal(r *http.Request) (principal, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return principal{}, unauthenticated("this needs a token; send it as \"Authorization: Bearer TOKEN\"")
	}
	scheme, text, _ := strings.Cut(header, " ")
	if a.foreign != nil && strings.EqualFold(scheme, "Bearer") && a.foreign.Takes(text) {
		return a.identify(r.Context(), text)
	}
	if !strings.EqualFold(scheme, "Bearer") || !strings.HasPrefix(text, tokenPrefix) || len(text) > maxTokenText {
		return principal{}, unauthenticated("the Authorization header holds no token of GCO; send it as \"Authorization: Bearer gco_…\"")
	}
	token, err := a.lookUp(r.Context(), hashOf(text))
	if errors.Is(err, store.ErrNotFound) {
		return principal{}, unauthenticated("the token is not known; it may have been deleted")
	}
	if err != nil {
		return principal{}, fmt.Errorf("looking up the token: %w", err)
	}
	if !token.ExpiresAt.IsZero() && !a.clock.Now().Before(token.ExpiresAt) {
		return principal{}, unauthenticated("the token expired at %s", token.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return principalOf(token), nil
}

func unauthenticated(format string, args ...any) *problem {
	return newProblem(api.ProblemUnauthenticated, format, args...).with("WWW-Authenticate", `Bearer realm="gco"`)
}

func (a *authenticator) lookUp(ctx context.Context, hash string) (store.Token, error) {
	now := a.clock.Now()
	a.mu.RLock()
	known, ok := a.known[hash]
	a.mu.RUnlock()
	if ok && now.Sub(known.readAt) < tokenTTL {
		return known.token, nil
	}
	token, err := a.tokens.TokenByHash(ctx, hash)
	if err != nil {
		return store.Token{}, err
	}
	// A driver that finds by a prefix or without regard to case must not let
	// anyone in.
	if subtle.ConstantTimeCompare([]byte(token.Hash), []byte(hash)) != 1 {
		return store.Token{}, store.ErrNotFound
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= maxTokens {
		clear(a.known)
	}
	a.known[hash] = knownToken{token: token, readAt: now}
	return token, nil
}

// forget makes a deleted token useless on this server at once.
func (a *authenticator) forget(id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for hash, known := range a.known {
		if known.token.ID == id {
			delete(a.known, hash)
		}
	}
}
