package dynamodb

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/logging"
	"k8s.io/utils/clock"
)

// How a call to DynamoDB is made. Reads are tried a few times within the SDK,
// quickly, and then by the store until the call's time is over; writes by the
// store alone (see transact).
const (
	sdkAttempts   = 3
	sdkMaxBackoff = 200 * time.Millisecond
	// attemptTimeout bounds one attempt: an answer that is lost must leave time
	// to ask again.
	attemptTimeout = 3 * time.Second
	// callTimeout bounds a call of the store that came without a deadline.
	callTimeout = 15 * time.Second
)

// newClient makes a client from the environment's credentials, as every tool of
// AWS finds them.
func newClient(ctx context.Context, o Options) (*dynamodb.Client, error) {
	if o.EndpointURL != "" && o.Credentials == nil && os.Getenv("AWS_ACCESS_KEY_ID") == "" {
		o.Credentials = credentials.NewStaticCredentialsProvider("local", "local", "")
	}
	loaded, err := config.LoadDefaultConfig(ctx, func(l *config.LoadOptions) error {
		l.Region = o.Region
		l.Credentials = o.Credentials
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the AWS configuration: %w", err)
	}
	return dynamodb.NewFromConfig(loaded, func(c *dynamodb.Options) {
		if o.EndpointURL != "" {
			c.BaseEndpoint = aws.String(o.EndpointURL)
		}
		c.Logger = logging.LoggerFunc(func(severity logging.Classification, format string, args ...any) {
			o.Log.Debug("the AWS SDK says something", "severity", severity, "text", fmt.Sprintf(format, args...))
		})
		c.HTTPClient = newHTTPClient(o.Transport)
		c.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts = sdkAttempts
			r.MaxBackoff = sdkMaxBackoff
			// The bucket of tokens would give up on everybody when one table is
			// throttled.
			r.RateLimiter = ratelimit.None
		})
	}), nil
}

// once has the SDK make one attempt: what the next one means depends on what
// became of the last, so writes are repeated here. And a call whose time is over
// while the SDK waits would not know that nothing was written.
func once(o *dynamodb.Options) { o.RetryMaxAttempts = 1 }

// newHTTPClient keeps enough connections for the calls that run side by side.
func newHTTPClient(transport http.RoundTripper) aws.HTTPClient {
	if transport != nil {
		return &http.Client{Transport: transport, Timeout: attemptTimeout}
	}
	return awshttp.NewBuildableClient().WithTimeout(attemptTimeout).WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConnsPerHost, t.MaxIdleConns = 2*parallel, 4*parallel
	})
}

// bounded gives a call that has no deadline one.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, callTimeout)
}

// committed is the context of a write: a caller who leaves in the middle would
// make its outcome unknown.
func committed(ctx context.Context) (context.Context, context.CancelFunc) {
	end, has := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	if has {
		return context.WithDeadline(ctx, end)
	}
	return context.WithTimeout(ctx, callTimeout)
}

// Bounds of the pauses between attempts of the store's own.
const (
	firstPause = 10 * time.Millisecond
	longPause  = time.Second
)

// pauses waits longer each time, by a random part, so that those who met do
// not meet again.
type pauses struct{ times int }

// wait returns false when the context ends first.
func (p *pauses) wait(ctx context.Context) bool {
	most := min(firstPause<<min(p.times, 10), longPause)
	p.times++
	timer := clock.RealClock{}.NewTimer(most/2 + rand.N(most/2)) //nolint:gosec // it need not be a secret
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
		return false
	}
}
