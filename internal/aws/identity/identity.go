// Package identity lets AWS say who calls, so that whoever has a role in AWS
// needs no token of GCO.
//
// A [Signer], at the client, signs a request to AWS's Security Token Service
// (STS), the one that asks "who am I", and does not send it: the signed URL is
// the credential. A [Verifier], at the server, takes such a credential only if
// it asks that and nothing else, lets STS answer, and remembers the answer
// for as long as the signature lives. A [Pattern] tells whom a rule of the configuration means.
//
// No secret travels: the signature proves that the client holds one. It covers
// the name of the server, so that one server cannot use at another what it was
// given. The daemon and cli put both ends in place; nothing here knows HTTP
// routes or roles.
package identity

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Prefix starts a credential; the rest is the signed URL in base64.
const Prefix = "gco-aws-v1."

// audienceHeader is the signed header with the server's name.
const audienceHeader = "X-Gco-Audience"

// The one action that is asked of STS, and the version of its API.
const (
	action     = "GetCallerIdentity"
	apiVersion = "2011-06-15"
)

// maxLife is the longest that a signature may live: AWS's own limit for
// requests that are signed once.
const maxLife = 15 * time.Minute

// maxCredential bounds a credential, in bytes. Session tokens of AWS have 1 to
// 2 KB, without a promise.
const maxCredential = 12 << 10

// The errors that callers decide on.
var (
	// ErrRefused: the credential proves nothing. Its text says why, to whoever
	// sent it.
	ErrRefused = errors.New("refused")
	// ErrUnavailable: STS could not be asked; a later try may succeed.
	ErrUnavailable = errors.New("STS did not answer")
)

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

// Caller is whom STS knows.
type Caller struct {
	// ARN names a user, or the role that was assumed; a session has none of
	// its own here.
	ARN string
	// Session is the name of the role's session, for logs: whoever assumes the
	// role chooses it.
	Session string
}

// callerOf reads the ARN of STS. It tells a role by its name, without the
// role's path.
func callerOf(arn string) (Caller, error) {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || !isAccount(parts[4]) || parts[5] == "" {
		return Caller{}, fmt.Errorf("STS names the caller %q, which is no ARN", arn)
	}
	if name, found := strings.CutPrefix(parts[5], "assumed-role/"); found && parts[2] == "sts" {
		role, session, found := strings.Cut(name, "/")
		if !found || role == "" {
			return Caller{}, fmt.Errorf("STS names the caller %q, which is no role's session", arn)
		}
		return Caller{ARN: fmt.Sprintf("arn:%s:iam::%s:role/%s", parts[1], parts[4], role), Session: session}, nil
	}
	return Caller{ARN: arn}, nil
}

func isAccount(text string) bool {
	return len(text) == 12 && strings.Trim(text, "0123456789") == ""
}
