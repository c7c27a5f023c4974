package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	clocktest "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/aws/awstest"
)

const (
	audience = "gco.example.com"
	roleARN  = "arn:aws:sts::111122223333:assumed-role/gco-admin/alice"
	userARN  = "arn:aws:iam::111122223333:user/people/bob"
)

// scene is a client, a server and STS, with one clock.
type scene struct {
	clock    *clocktest.FakeClock
	sts      *awstest.STS
	verifier *Verifier
}

func setUp(t *testing.T) *scene {
	t.Helper()
	s := &scene{clock: clocktest.NewFakeClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))}
	s.sts = awstest.StartSTS(t, "secret", map[string]string{"AKIDROLE": roleARN, "AKIDUSER": userARN}, s.clock.Now)
	s.verifier = NewVerifier(VerifierOptions{
		Audience: audience, Regions: []string{"us-east-1", "eu-west-1"}, Clock: s.clock, Transport: s.sts,
	})
	return s
}

func (s *scene) signer(t *testing.T, key, secret, region, audience string) *Signer {
	t.Helper()
	awstest.Environment(t, key, secret, region)
	return NewSigner(audience, s.clock)
}

func (s *scene) credential(t *testing.T) string {
	t.Helper()
	text, err := s.signer(t, "AKIDROLE", "secret", "eu-west-1", audience).Credential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestCallerIsKnown(t *testing.T) {
	s := setUp(t)
	tests := map[string]struct {
		key, region, session string
		want                 Caller
	}{
		"a role":             {"AKIDROLE", "eu-west-1", "", Caller{"arn:aws:iam::111122223333:role/gco-admin", "alice"}},
		"a role by a token":  {"AKIDROLE", "us-east-1", "temporary/+=token", Caller{"arn:aws:iam::111122223333:role/gco-admin", "alice"}},
		"a user":             {"AKIDUSER", "us-east-1", "", Caller{userARN, ""}},
		"no Region is named": {"AKIDUSER", "", "", Caller{userARN, ""}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			awstest.Environment(t, test.key, "secret", test.region)
			t.Setenv("AWS_SESSION_TOKEN", test.session)
			text, err := NewSigner(audience, s.clock).Credential(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := s.verifier.Verify(t.Context(), text); err != nil || got != test.want {
				t.Errorf("Verify = %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

func TestWrongSignaturesAreRefused(t *testing.T) {
	s := setUp(t)
	tests := map[string]struct{ key, secret, region, audience, want string }{
		"wrong secret":      {"AKIDROLE", "other", "us-east-1", audience, "SignatureDoesNotMatch"},
		"unknown key":       {"AKIDNONE", "secret", "us-east-1", audience, "InvalidClientTokenId"},
		"for another":       {"AKIDROLE", "secret", "us-east-1", "other.example.com", "SignatureDoesNotMatch"},
		"a Region not here": {"AKIDROLE", "secret", "ap-south-1", audience, "sts.ap-south-1.amazonaws.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text, err := s.signer(t, test.key, test.secret, test.region, test.audience).Credential(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.verifier.Verify(t.Context(), text); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Verify = %v; want %s", err, test.want)
			}
		})
	}
}

// TestAnswerLivesAsLongAsItsSignature: then nobody is let in by it, and before
// that STS is asked once.
func TestAnswerLivesAsLongAsItsSignature(t *testing.T) {
	s := setUp(t)
	text := s.credential(t)
	for range 3 {
		if _, err := s.verifier.Verify(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	if asked := s.sts.Asked.Load(); asked != 1 {
		t.Errorf("STS was asked %d times", asked)
	}
	s.clock.Step(life - time.Second)
	if _, err := s.verifier.Verify(t.Context(), text); err != nil {
		t.Errorf("a second before its end: %v", err)
	}
	s.clock.Step(time.Second)
	if _, err := s.verifier.Verify(t.Context(), text); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "ended at 2026-03-01T12:10:00Z") {
		t.Errorf("at its end: %v", err)
	}
	s.clock.Step(-life - time.Hour)
	if _, err := s.verifier.Verify(t.Context(), text); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "set the clocks") {
		t.Errorf("an hour before its signature: %v", err)
	}
}

func TestOneOfManyAsks(t *testing.T) {
	s := setUp(t)
	text := s.credential(t)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if _, err := s.verifier.Verify(t.Context(), text); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if asked := s.sts.Asked.Load(); asked != 1 {
		t.Errorf("STS was asked %d times", asked)
	}
}

// TestMadeUpCredentialsWait: STS is asked at a pace, which those who are known
// do not need.
func TestMadeUpCredentialsWait(t *testing.T) {
	s := setUp(t)
	known := s.credential(t)
	if _, err := s.verifier.Verify(t.Context(), known); err != nil {
		t.Fatal(err)
	}
	made := func(n int) string {
		u := decoded(t, known)
		query := u.Query()
		query.Set("X-Amz-Signature", strings.Repeat("0", 60)+string("0123456789abcdef"[n/16/16%16])+string("0123456789abcdef"[n/16%16])+string("0123456789abcdef"[n%16])+"0")
		u.RawQuery = query.Encode()
		return encoded(u.String())
	}
	late := 0
	for n := range askedAtOnce + 50 {
		if _, err := s.verifier.Verify(t.Context(), made(n)); errors.Is(err, ErrUnavailable) {
			late++
		} else if !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
	}
	if late < 50 || s.sts.Asked.Load() > askedAtOnce {
		t.Errorf("%d had to wait, and STS was asked %d times", late, s.sts.Asked.Load())
	}
	if _, err := s.verifier.Verify(t.Context(), known); err != nil {
		t.Errorf("who is known: %v", err)
	}
	// A refusal is remembered, for a while.
	before := s.sts.Asked.Load()
	_, _ = s.verifier.Verify(t.Context(), made(0))
	if s.sts.Asked.Load() != before {
		t.Error("STS was asked again for what it had just refused")
	}
}

func TestSTSOutOfOrder(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"503":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"throttling": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"HTML":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"cut":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			s := setUp(t)
			text := s.credential(t)
			s.sts.Instead.Store(&handler)
			if _, err := s.verifier.Verify(t.Context(), text); !errors.Is(err, ErrUnavailable) {
				t.Errorf("Verify = %v", err)
			}
			// That is not held against the caller.
			s.sts.Instead.Store(nil)
			if _, err := s.verifier.Verify(t.Context(), text); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
	s := setUp(t)
	text := s.credential(t)
	var elsewhere http.HandlerFunc = func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://attacker.amazonaws.com/", http.StatusFound)
	}
	s.sts.Instead.Store(&elsewhere)
	if _, err := s.verifier.Verify(t.Context(), text); !errors.Is(err, ErrRefused) {
		t.Errorf("a redirect: %v", err)
	}
	if s.sts.Asked.Load() != 1 {
		t.Error("the redirect was followed")
	}
	var strange http.HandlerFunc = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) }
	s.sts.Instead.Store(&strange)
	if caller, err := s.verifier.Verify(t.Context(), s.signed(t, "AKIDUSER")); err == nil {
		t.Errorf("an answer without a caller: %+v", caller)
	}
}

func (s *scene) signed(t *testing.T, key string) string {
	t.Helper()
	text, err := s.signer(t, key, "secret", "us-east-1", audience).Credential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSignerKeepsItsCredential(t *testing.T) {
	s := setUp(t)
	signer := s.signer(t, "AKIDROLE", "secret", "us-east-1", audience)
	var texts []string
	for range 4 {
		text, err := signer.Credential(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, text)
		s.clock.Step(2 * time.Minute)
	}
	if texts[0] != texts[2] || texts[0] == texts[3] {
		t.Error("a credential should be made anew when half of its life is over")
	}
	awstest.Environment(t, "", "", "")
	if _, err := NewSigner(audience, s.clock).Credential(t.Context()); err == nil || !strings.Contains(err.Error(), "finding credentials of AWS") {
		t.Errorf("without credentials: %v", err)
	}
}

func decoded(t *testing.T, credential string) *url.URL {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(credential, Prefix))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func encoded(text string) string { return Prefix + base64.RawURLEncoding.EncodeToString([]byte(text)) }

// TestOnlyTheOneQuestionIsAsked changes a good credential in one place.
func TestOnlyTheOneQuestionIsAsked(t *testing.T) {
	s := setUp(t)
	good := decoded(t, s.credential(t))
	set := func(name, value string) func(*url.URL) {
		return func(u *url.URL) {
			query := u.Query()
			query.Set(name, value)
			u.RawQuery = query.Encode()
		}
	}
	tests := map[string]func(*url.URL){
		"http":              func(u *url.URL) { u.Scheme = "http" },
		"another host":      func(u *url.URL) { u.Host = "attacker.example.com" },
		"a host like STS's": func(u *url.URL) { u.Host = "sts.us-east-1.amazonaws.com.example.com" },
		"another service":   func(u *url.URL) { u.Host = "iam.amazonaws.com" },
		"a port":            func(u *url.URL) { u.Host += ":443" },
		"a user":            func(u *url.URL) { u.User = url.User("x") },
		"a path":            func(u *url.URL) { u.Path = "/x" },
		"no path":           func(u *url.URL) { u.Path = "" },
		"a fragment":        func(u *url.URL) { u.Fragment = "x" },
		"another action":    set("Action", "AssumeRole"),
		"another version":   set("Version", "2010-05-08"),
		"one more":          set("RoleArn", "arn:aws:iam::111122223333:role/x"),
		"no signed header":  set("X-Amz-SignedHeaders", "host"),
		"one more header":   set("X-Amz-SignedHeaders", "host;x-gco-audience;x-other"),
		"too long a life":   set("X-Amz-Expires", "901"),
		"no life":           set("X-Amz-Expires", "0"),
		"another service's": set("X-Amz-Credential", "AKIDROLE/20260301/eu-west-1/s3/aws4_request"),
		"no date":           set("X-Amz-Date", "yesterday 16 chr"),
		"a short signature": set("X-Amz-Signature", "00"),
		"twice":             func(u *url.URL) { u.RawQuery += "&Action=GetCallerIdentity" },
		"lower case":        func(u *url.URL) { u.RawQuery += "&action=AssumeRole" },
		"none":              func(u *url.URL) { u.RawQuery = "" },
		"no action":         func(u *url.URL) { q := u.Query(); q.Del("Action"); u.RawQuery = q.Encode() },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			changed := *good
			change(&changed)
			if _, err := s.verifier.Verify(t.Context(), encoded(changed.String())); !errors.Is(err, ErrRefused) {
				t.Errorf("Verify = %v", err)
			}
		})
	}
	for _, text := range []string{"", Prefix, "k8s-aws-v1." + "x", Prefix + "!!", Prefix + strings.Repeat("A", maxCredential), encoded("::")} {
		if _, err := s.verifier.Verify(t.Context(), text); !errors.Is(err, ErrRefused) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
	if s.sts.Asked.Load() != 0 {
		t.Errorf("STS was asked %d times", s.sts.Asked.Load())
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.verifier.Verify(cancelled, s.credential(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
}

func FuzzParseCredential(f *testing.F) {
	good := "https://sts.us-east-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256" +
		"&X-Amz-Credential=AKID%2F20260301%2Fus-east-1%2Fsts%2Faws4_request&X-Amz-Date=20260301T120000Z&X-Amz-Expires=600" +
		"&X-Amz-SignedHeaders=host%3Bx-gco-audience&X-Amz-Signature=" + strings.Repeat("0", 64)
	for _, seed := range []string{good, good + "&Action=x", strings.Replace(good, "sts.", "evil.", 1), strings.Replace(good, "/?", "/../?", 1), "https://sts.us-east-1.amazonaws.com:443/"} {
		f.Add(seed)
	}
	hosts := []string{"sts.us-east-1.amazonaws.com"}
	if _, err := parseCredential(encoded(good), hosts); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		signed, err := parseCredential(encoded(text), hosts)
		if err != nil {
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		// What is asked is the one question, at one of the hosts, and nothing
		// of the text is left that was not looked at.
		u, err := url.Parse(signed.String())
		if err != nil || u.Scheme != "https" || u.Host != hosts[0] || u.Path != "/" || u.Query().Get("Action") != action || len(u.Query()) < 8 || len(u.Query()) > 9 {
			t.Fatalf("%q became %q, %v", text, signed, err)
		}
		if life := signed.until.Sub(signed.from); life <= 0 || life > maxLife {
			t.Fatalf("%q lives %s", text, life)
		}
	})
}

func FuzzCallerOf(f *testing.F) {
	for _, seed := range []string{roleARN, userARN, "arn:aws:iam::111122223333:root", "arn:aws:sts::111122223333:assumed-role/x", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, arn string) {
		caller, err := callerOf(arn)
		if err == nil && !strings.HasPrefix(caller.ARN, "arn:") {
			t.Fatalf("%q became %+v", arn, caller)
		}
	})
}

func TestPatterns(t *testing.T) {
	caller := func(arn string) Caller {
		c, err := callerOf(arn)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tests := []struct {
		pattern, arn string
		want         bool
	}{
		{"arn:aws:iam::111122223333:role/gco-admin", roleARN, true},
		{"arn:aws:iam::111122223333:role/gco-*", roleARN, true},
		{"arn:aws:iam::111122223333:role/*", roleARN, true},
		{"arn:aws:iam::111122223333:role/admin", roleARN, false},
		{"arn:aws:iam::111122223333:role/gco", roleARN, false},
		{"arn:aws:iam::444455556666:role/gco-admin", roleARN, false},
		{"arn:aws:iam::111122223333:user/*", roleARN, false},
		{"arn:aws:iam::111122223333:user/people/*", userARN, true},
		{"arn:aws:iam::111122223333:user/*", userARN, false},
		{"arn:aws:iam::111122223333:user/people/b.b", userARN, false},
		{"arn:aws:iam::111122223333:root", "arn:aws:iam::111122223333:root", true},
		{"arn:aws:sts::111122223333:federated-user/*", "arn:aws:sts::111122223333:federated-user/eve", true},
		// Whoever names a session role/x is no role x.
		{"arn:aws:iam::111122223333:role/x", "arn:aws:sts::111122223333:assumed-role/y/role/x", false},
	}
	for _, test := range tests {
		pattern, err := ParsePattern(test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if pattern.Matches(caller(test.arn)) != test.want {
			t.Errorf("%s matches %s: want %v", test.pattern, test.arn, test.want)
		}
	}
	for _, text := range []string{
		"", "*", "arn:aws:iam::*:role/x", "arn:aws:iam::111122223333:role/path/x", "arn:aws:iam::1111:role/x", "arn:aws:iam::111122223333:role/",
		"arn:aws:sts::111122223333:assumed-role/x/y", "arn:*:iam::111122223333:role/x", "arn:aws:iam::111122223333:role/x\n",
	} {
		if _, err := ParsePattern(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if (Pattern{}).Matches(Caller{ARN: ""}) {
		t.Error("no pattern matches somebody")
	}
}
