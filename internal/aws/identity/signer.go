package identity

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
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
	credentials aws.CredentialsProvider
	region      string
	audience    string
	clock       clock.PassiveClock

	mu    sync.Mutex
	text  string
	until time.Time
}

// NewSigner looks for credentials of AWS. audience is the server's name: what
// its configuration has as auth.audience.
func NewSigner(ctx context.Context, audience string, clock clock.PassiveClock) (*Signer, error) {
	if audience == "" {
		return nil, errors.New("the credential of AWS needs the name of the server that it is for")
	}
	conf, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	s := &Signer{credentials: conf.Credentials, region: conf.Region, audience: audience, clock: clock}
	if s.region == "" {
		s.region = defaultRegion
	}
	return s, nil
}

// Credential returns one that is good for some minutes.
func (s *Signer) Credential(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	if s.until.Sub(now) > renewBefore {
		return s.text, nil
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
