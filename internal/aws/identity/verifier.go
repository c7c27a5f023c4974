package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
	"k8s.io/utils/clock"
)

// STS is asked for callers that nobody has seen yet, so it is asked at a pace:
// whoever makes up credentials takes the pace of newcomers, and nothing of
// those who are known.
const (
	askedPerSecond = 20
	askedAtOnce    = 100
)

// How many callers are remembered, how long a refusal of STS is, and how long
// it has to answer.
const (
	maxKnown   = 10_000
	refusalTTL = 10 * time.Second
	askTimeout = 5 * time.Second
	maxAnswer  = 64 << 10
)

// Verifier tells who is behind a credential. It is safe for concurrent use.
type Verifier struct {
	audience string
	hosts    []string
	http     *http.Client
	clock    clock.PassiveClock
	pace     *rate.Limiter
	flights  singleflight.Group

	mu    sync.Mutex
	known map[[sha256.Size]byte]answer
}

// answer is what STS said of a credential.
type answer struct {
	caller Caller
	err    error
	until  time.Time
}

// VerifierOptions is what a Verifier is made of.
type VerifierOptions struct {
	// Audience is the server's name, which credentials must be for.
	Audience string
	// Regions are the AWS Regions whose STS is asked.
	Regions []string
	Clock   clock.PassiveClock
	// Transport carries the requests to STS; nil is the default one.
	Transport http.RoundTripper
}

// NewVerifier returns a Verifier that knows nobody yet.
func NewVerifier(o VerifierOptions) *Verifier {
	v := &Verifier{
		audience: o.Audience, clock: o.Clock,
		pace:  rate.NewLimiter(askedPerSecond, askedAtOnce),
		known: map[[sha256.Size]byte]answer{},
		http: &http.Client{
			Transport: o.Transport, Timeout: askTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for _, region := range o.Regions {
		v.hosts = append(v.hosts, "sts."+region+".amazonaws.com")
	}
	return v
}

// Verify returns whom STS knows by a credential. The errors are ErrRefused and
// ErrUnavailable, wrapped.
func (v *Verifier) Verify(ctx context.Context, credential string) (Caller, error) {
	signed, err := parseCredential(credential, v.hosts)
	if err != nil {
		return Caller{}, err
	}
	now := v.clock.Now()
	if err := signed.check(now); err != nil {
		return Caller{}, err
	}
	key := sha256.Sum256([]byte(credential))
	if known, ok := v.lookUp(key, now); ok {
		return known.caller, known.err
	}
	// One of several calls with the same new credential asks, with a context
	// that the others' cancellation does not end.
	done := v.flights.DoChan(string(key[:]), func() (any, error) {
		return v.ask(context.WithoutCancel(ctx), signed, key, now)
	})
	select {
	case <-ctx.Done():
		return Caller{}, context.Cause(ctx)
	case result := <-done:
		caller, _ := result.Val.(Caller)
		return caller, result.Err
	}
}

func (v *Verifier) lookUp(key [sha256.Size]byte, now time.Time) (answer, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known, ok := v.known[key]
	return known, ok && now.Before(known.until)
}

// ask lets STS answer, and remembers that.
func (v *Verifier) ask(ctx context.Context, signed signedURL, key [sha256.Size]byte, now time.Time) (Caller, error) {
	if !v.pace.AllowN(now, 1) {
		return Caller{}, fmt.Errorf("%w: it is asked %d times a second at most", ErrUnavailable, askedPerSecond)
	}
	caller, err := v.callerOf(ctx, signed)
	until := signed.until
	switch {
	case errors.Is(err, ErrRefused):
		until = now.Add(refusalTTL)
	case err != nil:
		return Caller{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= maxKnown {
		clear(v.known)
	}
	v.known[key] = answer{caller: caller, err: err, until: until}
	return caller, err
}

// callerOf sends the signed request with the one header that the signature
// must cover besides the host: a credential for another server fails there.
func (v *Verifier) callerOf(ctx context.Context, signed signedURL) (Caller, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, signed.String(), http.NoBody)
	if err != nil {
		return Caller{}, refused("the credential holds no URL")
	}
	request.Header.Set(audienceHeader, v.audience)
	request.Header.Set("Accept", "application/json")
	response, err := v.http.Do(request)
	if err != nil {
		return Caller{}, fmt.Errorf("%w: asking %s: %w", ErrUnavailable, signed.host, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	switch {
	case err != nil:
		return Caller{}, fmt.Errorf("%w: reading the answer of %s: %w", ErrUnavailable, signed.host, err)
	case response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500:
		return Caller{}, fmt.Errorf("%w: %s says %s", ErrUnavailable, signed.host, response.Status)
	case response.StatusCode != http.StatusOK:
		return Caller{}, refused("%s does not accept the signature (%s); it must be for the audience %q, by credentials that have not ended", signed.host, reasonIn(text), v.audience)
	}
	return readAnswer(text)
}

// readAnswer finds the caller in what STS says.
func readAnswer(text []byte) (Caller, error) {
	var document struct {
		Response struct {
			Result struct{ Arn string } `json:"GetCallerIdentityResult"`
		} `json:"GetCallerIdentityResponse"`
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return Caller{}, fmt.Errorf("%w: its answer is not JSON: %w", ErrUnavailable, err)
	}
	return callerOf(document.Response.Result.Arn)
}

// reasonIn finds the code of an error of STS.
func reasonIn(text []byte) string {
	var document struct{ Error struct{ Code string } }
	if err := json.Unmarshal(text, &document); err != nil || document.Error.Code == "" {
		return "no reason given"
	}
	return shorten(document.Error.Code)
}
