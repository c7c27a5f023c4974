package webhook

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/store"
)

// TestPublishedVector signs the message that the libraries of Standard Webhooks
// are tested with.
func TestPublishedVector(t *testing.T) {
	key, err := parseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("the signature is %s instead of %s", got, want)
	}
}

// TestSignVerifies has an independent implementation and our own verify what
// sign makes, with each secret of a rotation, and notice what was changed.
func TestSignVerifies(t *testing.T) {
	now := time.Now()
	body := []byte("{\"n\":\"é\\u0000\"}")
	newer, older, expired := newKey(), newKey(), newKey()
	header := http.Header{}
	sign(header, "job/x/7", now, body, []store.WebhookSecret{
		{Key: newer}, {Key: older, ExpiresAt: now.Add(time.Minute)}, {Key: expired, ExpiresAt: now},
	})
	for _, test := range []struct {
		name   string
		secret string
		header func(http.Header)
		body   []byte
		valid  bool
	}{
		{"newer secret", secretText(newer), nil, body, true},
		{"older secret", secretText(older), nil, body, true},
		{"expired secret", secretText(expired), nil, body, false},
		{"other body", secretText(newer), nil, append(bytes.Clone(body), ' '), false},
		{"other ID", secretText(newer), func(h http.Header) { h.Set(headerID, "job/x/8") }, body, false},
		{"other time", secretText(newer), func(h http.Header) { h.Set(headerTimestamp, "1") }, body, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			verifier, err := standardwebhooks.NewWebhook(test.secret)
			if err != nil {
				t.Fatal(err)
			}
			h := header.Clone()
			if test.header != nil {
				test.header(h)
			}
			if err := verifier.Verify(test.body, h); (err == nil) != test.valid {
				t.Errorf("verified: %v", err)
			}
			receiver, err := client.NewReceiver(test.secret)
			if err != nil {
				t.Fatal(err)
			}
			if err := receiver.Verify(h, test.body); (err == nil) != test.valid {
				t.Errorf("verified by our own receiver: %v", err)
			}
		})
	}
}

// TestSignAgrees compares with what the independent implementation signs.
func TestSignAgrees(t *testing.T) {
	for _, length := range []int{minKey, keyLength, maxKey} {
		key := bytes.Repeat([]byte{0xff, 0}, length)[:length]
		signer, err := standardwebhooks.NewWebhook(secretText(key))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1_900_000_000, 999)
		for _, body := range []string{"", "{}", strings.Repeat("é", 10_000)} {
			want, err := signer.Sign("region/a/1", at, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			sign(header, "region/a/1", at, []byte(body), []store.WebhookSecret{{Key: key}})
			if got := header.Get(headerSignature); got != want {
				t.Errorf("%d bytes are signed as %s instead of %s", len(body), got, want)
			}
		}
	}
}

func TestParseSecret(t *testing.T) {
	text := func(n int) string { return secretPrefix + base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for _, test := range []struct {
		text  string
		valid bool
	}{
		{text(minKey), true},
		{text(maxKey), true},
		{secretText(newKey()), true},
		{text(minKey - 1), false},
		{text(maxKey + 1), false},
		{"", false},
		{secretPrefix, false},
		{strings.TrimPrefix(text(32), secretPrefix), false},
		{secretPrefix + "!!!", false},
	} {
		if _, err := parseSecret(test.text); (err == nil) != test.valid {
			t.Errorf("%q: %v", test.text, err)
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	for _, seed := range []string{"", "whsec_", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_====", "MfKQ"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := parseSecret(text)
		if err != nil {
			return
		}
		if len(key) < minKey || len(key) > maxKey {
			t.Fatalf("%q gives %d bytes", text, len(key))
		}
		if again, err := parseSecret(secretText(key)); err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%q does not survive: %v", text, err)
		}
	})
}
