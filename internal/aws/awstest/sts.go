package awstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// STS answers GetCallerIdentity requests that are signed right.
type STS struct {
	// Callers are the ARNs by access key.
	Callers map[string]string
	// Secret is that of every access key.
	Secret string
	// Now is the service's clock.
	Now func() time.Time
	// Asked counts requests.
	Asked atomic.Int64
	// Instead answers in place of the service when it is set.
	Instead atomic.Pointer[http.HandlerFunc]

	server *httptest.Server
}

// StartSTS runs the service until the test ends.
func StartSTS(t testing.TB, secret string, callers map[string]string, now func() time.Time) *STS {
	t.Helper()
	s := &STS{Callers: callers, Secret: secret, Now: now}
	s.server = httptest.NewServer(s)
	t.Cleanup(s.server.Close)
	return s
}

// RoundTrip brings requests for any host of AWS to the service.
func (s *STS) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" || !strings.HasSuffix(r.URL.Host, ".amazonaws.com") {
		return nil, fmt.Errorf("a request to %s, which is not AWS", r.URL)
	}
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(s.server.URL, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

func (s *STS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Asked.Add(1)
	if instead := s.Instead.Load(); instead != nil {
		(*instead)(w, r)
		return
	}
	arn, code := s.caller(r)
	if code != "" {
		write(w, http.StatusForbidden, map[string]any{"Error": map[string]any{"Code": code, "Type": "Sender"}})
		return
	}
	write(w, http.StatusOK, map[string]any{"GetCallerIdentityResponse": map[string]any{
		"GetCallerIdentityResult": map[string]any{"Account": strings.Split(arn, ":")[4], "Arn": arn, "UserId": "AIDATEST"},
	}})
}

// caller signs the request once more and compares.
func (s *STS) caller(r *http.Request) (arn, code string) {
	query := r.URL.Query()
	scope := strings.Split(query.Get("X-Amz-Credential"), "/")
	signed, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date"))
	life, lifeErr := time.ParseDuration(query.Get("X-Amz-Expires") + "s")
	if r.Method != http.MethodGet || len(scope) != 5 || err != nil || lifeErr != nil || query.Get("Action") != "GetCallerIdentity" {
		return "", "IncompleteSignature"
	}
	arn, known := s.Callers[scope[0]]
	if !known {
		return "", "InvalidClientTokenId"
	}
	if now := s.Now(); now.Before(signed) || now.After(signed.Add(life)) {
		return "", "ExpiredToken"
	}
	want := query.Get("X-Amz-Signature")
	if s.signature(r, query, scope, signed) != want {
		return "", "SignatureDoesNotMatch"
	}
	return arn, ""
}

func (s *STS) signature(r *http.Request, query url.Values, scope []string, at time.Time) string {
	unsigned := url.Values{"Action": query["Action"], "Version": query["Version"], "X-Amz-Expires": query["X-Amz-Expires"]}
	again := httptest.NewRequestWithContext(r.Context(), http.MethodGet, "https://"+r.Host+"/?"+unsigned.Encode(), http.NoBody)
	for name := range strings.SplitSeq(query.Get("X-Amz-SignedHeaders"), ";") {
		if name != "host" {
			again.Header.Set(name, r.Header.Get(name))
		}
	}
	none := sha256.Sum256(nil)
	credentials := aws.Credentials{AccessKeyID: scope[0], SecretAccessKey: s.Secret, SessionToken: query.Get("X-Amz-Security-Token")}
	signed, _, err := v4.NewSigner().PresignHTTP(r.Context(), credentials, again, hex.EncodeToString(none[:]), "sts", scope[2], at)
	if err != nil {
		return ""
	}
	u, err := url.Parse(signed)
	if err != nil {
		return ""
	}
	return u.Query().Get("X-Amz-Signature")
}
