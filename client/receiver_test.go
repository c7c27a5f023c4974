package client

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The message that the libraries of Standard Webhooks are tested with.
const (
	vectorSecret    = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	vectorID        = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	vectorTime      = 1614265330
	vectorBody      = `{"test": 2432232314}`
	vectorSignature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
)

// receiverAt is a Receiver that believes it is this time.
func receiverAt(t *testing.T, at time.Time, secrets ...string) *Receiver {
	t.Helper()
	r, err := NewReceiver(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	r.now = func() time.Time { return at }
	return r
}

func headersOf(id string, at int64, signature string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at, 10))
	h.Set("webhook-signature", signature)
	return h
}

func TestReceiverTakesThePublishedVector(t *testing.T) {
	r := receiverAt(t, time.Unix(vectorTime, 0), vectorSecret)
	good := headersOf(vectorID, vectorTime, vectorSignature)
	if err := r.Verify(good, []byte(vectorBody)); err != nil {
		t.Error(err)
	}
	without := func(name string) http.Header {
		h := good.Clone()
		h.Del(name)
		return h
	}
	for _, test := range []struct {
		name   string
		header http.Header
		body   string
		want   error
	}{
		{"another body", good, vectorBody + " ", ErrForged},
		{"another ID", headersOf(vectorID+"x", vectorTime, vectorSignature), vectorBody, ErrForged},
		{"another time", headersOf(vectorID, vectorTime+1, vectorSignature), vectorBody, ErrForged},
		{"another version", headersOf(vectorID, vectorTime, strings.Replace(vectorSignature, "v1", "v2", 1)), vectorBody, ErrForged},
		{"no base64", headersOf(vectorID, vectorTime, "v1,???"), vectorBody, ErrForged},
		{"only a part", headersOf(vectorID, vectorTime, vectorSignature[:20]), vectorBody, ErrForged},
		{"no version", headersOf(vectorID, vectorTime, "v1"), vectorBody, ErrForged},
		{"others before it", headersOf(vectorID, vectorTime, "v1a,AAAA  v1, "+vectorSignature), vectorBody, nil},
		{"no ID", without("Webhook-Id"), vectorBody, ErrUnsigned},
		{"no time", without("Webhook-Timestamp"), vectorBody, ErrUnsigned},
		{"no signature", without("Webhook-Signature"), vectorBody, ErrUnsigned},
		{"no headers", nil, vectorBody, ErrUnsigned},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := r.Verify(test.header, []byte(test.body)); !errors.Is(err, test.want) {
				t.Errorf("%v instead of %v", err, test.want)
			}
		})
	}
	for after, want := range map[time.Duration]error{
		receiverTolerance: nil, -receiverTolerance: nil, receiverTolerance + time.Second: ErrStale, -receiverTolerance - time.Second: ErrStale,
		1 << 62: ErrStale,
	} {
		late := receiverAt(t, time.Unix(vectorTime, 0).Add(after), vectorSecret)
		if err := late.Verify(good, []byte(vectorBody)); !errors.Is(err, want) {
			t.Errorf("after %s: %v instead of %v", after, err, want)
		}
	}
}

// TestReceiverTakesWhatAnotherSigns has the independent implementation sign.
func TestReceiverTakesWhatAnotherSigns(t *testing.T) {
	at := time.Unix(1_900_000_000, 0)
	for _, length := range []int{1, 24, 32, 64, 100} {
		key := bytes.Repeat([]byte{0xfe, 1}, length)[:length]
		secret := "whsec_" + base64.StdEncoding.EncodeToString(key)
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			t.Fatal(err)
		}
		other := "whsec_" + base64.StdEncoding.EncodeToString(append(key, 0x77))
		for _, body := range []string{"", "{}", "{\"n\":\"é\\u0000\"}", strings.Repeat("é", 10_000)} {
			signature, err := signer.Sign("job/x/7", at, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			header := headersOf("job/x/7", at.Unix(), signature)
			for _, secrets := range [][]string{{secret}, {other, secret}, {strings.TrimPrefix(secret, "whsec_")}} {
				if err := receiverAt(t, at, secrets...).Verify(header, []byte(body)); err != nil {
					t.Errorf("%d bytes with a key of %d: %v", len(body), length, err)
				}
			}
			if err := receiverAt(t, at, other).Verify(header, []byte(body)); !errors.Is(err, ErrForged) {
				t.Errorf("%d bytes with another key: %v", len(body), err)
			}
		}
	}
}

func TestReceiverReadsEvents(t *testing.T) {
	at := time.Unix(1_900_000_000, 0)
	signer, err := standardwebhooks.NewWebhook(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	request := func(body string) *http.Request {
		signature, err := signer.Sign("job/x/1", at, []byte(body))
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
		r.Header = headersOf("job/x/1", at.Unix(), signature)
		return r
	}
	receiver := receiverAt(t, at, vectorSecret)
	event, err := receiver.Event(request(`{"specversion":"1.0","id":"job/x/1","type":"job.queued","data":{"number":1}}`))
	if err != nil || event.ID != "job/x/1" || event.Type != "job.queued" || string(event.Data) != `{"number":1}` {
		t.Errorf("%+v, %v", event, err)
	}
	forged := request("{}")
	forged.Header.Set("Webhook-Id", "job/x/2")
	if _, err := receiver.Event(forged); !errors.Is(err, ErrForged) {
		t.Error(err)
	}
	for _, body := range []string{"", "[]", strings.Repeat(" ", maxDelivery+1)} {
		if event, err := receiver.Event(request(body)); err == nil {
			t.Errorf("%d bytes are %+v", len(body), event)
		}
	}
}

func TestNewReceiver(t *testing.T) {
	for _, secrets := range [][]string{nil, {""}, {"whsec_"}, {"whsec_!"}, {vectorSecret, "whsec_!"}} {
		if _, err := NewReceiver(secrets...); err == nil {
			t.Errorf("%q was taken", secrets)
		} else if strings.Contains(err.Error(), "!") {
			t.Errorf("%v shows the secret", err)
		}
	}
}

func FuzzReceiver(f *testing.F) {
	f.Add(vectorID, strconv.Itoa(vectorTime), vectorSignature, []byte(vectorBody))
	f.Add("", "-9223372036854775808", "v1, v1,= ,", []byte{})
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		r := receiverAt(t, time.Unix(vectorTime, 0), vectorSecret)
		h := http.Header{}
		h.Set("Webhook-Id", id)
		h.Set("Webhook-Timestamp", timestamp)
		h.Set("Webhook-Signature", signature)
		if r.Verify(h, body) != nil {
			return
		}
		if id != vectorID || string(body) != vectorBody {
			t.Errorf("%q at %q with %q was taken", id, timestamp, signature)
		}
	})
}
