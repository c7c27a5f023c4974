package identity

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"k8s.io/utils/clock"
)

// life is how long a signature of ours lives, and renewBefore how much of that
// is left when another is made.
const (
	life        = 10 * time.Minute
	renewBefore = 5 * time.Minute
)

// defaultRegion is whose STS is asked where the AWS environment names no
// Region; it is enabled in every account.
const defaultRegion = "us-east-1"

// Signer makes credentials from those of the AWS environment: variables, a
// profile, or the role of an instance, a pod or a function. It is safe for
// concurrent use.
type Signer struct {
	audience string
	clock    clock.PassiveClock

	mu sync.Mutex
	// credentials is nil until the first credential is asked for.
	credentials aws.CredentialsProvider
	region      string
	text        string
	until       time.Time
}

// NewSigner returns a Signer that has not looked for credentials of AWS yet.
// audience is the server's name: what its configuration has as auth.audience.
func NewSigner(audience string, clock clock.PassiveClock) *Signer {
	return &Signer{audience: audience, clock: clock}
}

// load reads the AWS environment, once.
func (s *Signer) load(ctx context.Context) error {
	if s.credentials != nil {
		return nil
	}
	conf, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return fmt.Errorf("loading the AWS configuration: %w", err)
	}
	s.credentials, s.region = conf.Credentials, cmp.Or(conf.Region, defaultRegion)
	return nil
}

// Credential returns one that is good for some minutes.
func (s *Signer) Credential(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.until.Sub(now) > renewBefore {
		return s.text, nil
	}
	if err := s.load(ctx); err != nil {
		return "", err
	}
	credentials, err := s.credentials.Retrieve(ctx)
	if err != nil {
		return "", fmt.Errorf("finding credentials of AWS: %w; set a profile or AWS_ACCESS_KEY_ID, or sign in", err)
	}
	signed, err := sign(ctx, credentials, s.region, s.audience, now)
	if err != nil {
		return "", err
	}
	s.text, s.until = Prefix+base64.RawURLEncoding.EncodeToString([]byte(signed)), now.Add(life)
	if credentials.CanExpire && credentials.Expires.Before(s.until) {
		s.until = credentials.Expires
	}
	return s.text, nil
}

func sign(ctx context.Context, credentials aws.Credentials, region, audience string, now time.Time) (string, error) {
	query := url.Values{
		"Action": {action}, "Version": {apiVersion},
		"X-Amz-Expires": {strconv.Itoa(int(life.Seconds()))},
	}
	target := "https://sts." + region + ".amazonaws.com/?" + query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("signing a request to STS: %w", err)
	}
	request.Header.Set(audienceHeader, audience)
	none := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().PresignHTTP(ctx, credentials, request, hex.EncodeToString(none[:]), "sts", region, now)
	if err != nil {
		return "", fmt.Errorf("signing a request to STS: %w", err)
	}
	return signed, nil
}
