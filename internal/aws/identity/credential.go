package identity

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// signedHeaders are those that the signature must cover, and no others.
const signedHeaders = "host;x-gco-audience"

// signedURL is a credential taken apart: what STS is to be asked.
type signedURL struct {
	host  string
	query url.Values
	// from and until are the life of the signature.
	from, until time.Time
}

// queryRules is every parameter that the URL has, each once, and what its
// value must be. The security token is there with temporary credentials only.
var queryRules = map[string]func(value string) bool{
	"Action":               func(v string) bool { return v == action },
	"Version":              func(v string) bool { return v == apiVersion },
	"X-Amz-Algorithm":      func(v string) bool { return v == "AWS4-HMAC-SHA256" },
	"X-Amz-SignedHeaders":  func(v string) bool { return v == signedHeaders },
	"X-Amz-Credential":     func(v string) bool { return len(v) <= 256 && strings.HasSuffix(v, "/sts/aws4_request") },
	"X-Amz-Date":           func(v string) bool { return len(v) == len(dateLayout) },
	"X-Amz-Expires":        func(v string) bool { return len(v) > 0 && len(v) <= 3 },
	"X-Amz-Signature":      func(v string) bool { return len(v) == 64 && strings.Trim(v, "0123456789abcdef") == "" },
	"X-Amz-Security-Token": func(v string) bool { return v != "" },
}

const dateLayout = "20060102T150405Z"

// parseCredential takes a credential apart, and refuses whatever is not exactly
// what a Signer makes for one of the hosts.
func parseCredential(text string, hosts []string) (signedURL, error) {
	encoded, found := strings.CutPrefix(text, Prefix)
	if !found || len(text) > maxCredential {
		return signedURL{}, refused("no credential of AWS; it would start with %s and have at most %d bytes", Prefix, maxCredential)
	}
	decoded, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return signedURL{}, refused("the credential is not base64")
	}
	u, err := url.Parse(string(decoded))
	if err != nil {
		return signedURL{}, refused("the credential holds no URL")
	}
	if u.Scheme != "https" || u.User != nil || u.Opaque != "" || u.Path != "/" || u.RawPath != "" || u.Fragment != "" || u.ForceQuery {
		return signedURL{}, refused("the credential holds no signed URL of STS: https://HOST/?QUERY")
	}
	if !slices.Contains(hosts, u.Host) {
		return signedURL{}, refused("the credential is for %q; sts.REGION.amazonaws.com is asked, for AWS Regions that this server knows", shorten(u.Host))
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return signedURL{}, refused("the query of the signed URL can't be read")
	}
	return newSignedURL(u.Host, query)
}

func newSignedURL(host string, query url.Values) (signedURL, error) {
	for name, values := range query {
		rule, known := queryRules[name]
		if !known || len(values) != 1 || !rule(values[0]) {
			return signedURL{}, refused("the signed URL is not for %s alone: parameter %q", action, shorten(name))
		}
	}
	for name := range queryRules {
		if !query.Has(name) && name != "X-Amz-Security-Token" {
			return signedURL{}, refused("the signed URL lacks %s", name)
		}
	}
	from, err := time.Parse(dateLayout, query.Get("X-Amz-Date"))
	if err != nil {
		return signedURL{}, refused("X-Amz-Date of the signed URL is no time")
	}
	seconds, err := strconv.ParseUint(query.Get("X-Amz-Expires"), 10, 16)
	life := time.Duration(seconds) * time.Second
	if err != nil || life <= 0 || life > maxLife {
		return signedURL{}, refused("X-Amz-Expires of the signed URL is not between 1 and %d seconds", int(maxLife.Seconds()))
	}
	return signedURL{host: host, query: query, from: from, until: from.Add(life)}, nil
}

// check holds the life of the signature against the clock.
func (s signedURL) check(now time.Time) error {
	const skew = time.Minute
	if now.Before(s.from.Add(-skew)) {
		return refused("the credential was signed at %s, and here it is %s; set the clocks", stamp(s.from), stamp(now))
	}
	if !now.Before(s.until) {
		return refused("the credential ended at %s, and here it is %s; sign anew, or set the clocks", stamp(s.until), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// String is the URL again, made of what was checked and nothing else.
func (s signedURL) String() string { return fmt.Sprintf("https://%s/?%s", s.host, s.query.Encode()) }

func shorten(text string) string {
	const most = 60
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
