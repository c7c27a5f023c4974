package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gco-project/gco/api"
)

// The errors of a Receiver. A message with one of them is not to be believed.
var (
	// ErrUnsigned: the headers that a delivery has are missing or no such.
	ErrUnsigned = errors.New("the message is no delivery of a webhook: its headers are missing or malformed")
	// ErrForged: no signature is of this message and made with one of the
	// secrets.
	ErrForged = errors.New("the message has no signature by a secret of this webhook")
	// ErrStale: it was sent too long ago, or it will be. Somebody may be
	// repeating what they saw, or one of the clocks is wrong.
	ErrStale = errors.New("the message was not sent just now")
)

const (
	// receiverTolerance is how far the clocks of sender and receiver may be
	// apart, with the way between them.
	receiverTolerance = 5 * time.Minute
	// maxDelivery bounds what Event reads of a request, in bytes.
	maxDelivery = 1 << 20
)

// Receiver checks what comes to the address of a webhook: that GCO sent it, as
// it came, and just now. It speaks Standard Webhooks 1.0, and so it takes the
// messages of every sender that does. It is safe for concurrent use.
type Receiver struct {
	keys [][]byte
	now  func() time.Time
}

// NewReceiver makes a Receiver for the webhook with this secret, the text that
// begins with whsec_. During a rotation it may have both secrets; GCO signs
// with both, so that either alone is enough.
func NewReceiver(secrets ...string) (*Receiver, error) {
	r := &Receiver{now: time.Now}
	for _, secret := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil || len(key) == 0 {
			// Without the secret: this may be logged.
			return nil, errors.New("a webhook's secret should be whsec_ and base64")
		}
		r.keys = append(r.keys, key)
	}
	if len(r.keys) == 0 {
		return nil, errors.New("a receiver needs the secret of its webhook")
	}
	return r, nil
}

// Verify checks a message by the headers that it came with. body has to be as
// it came, byte by byte. The error is ErrUnsigned, ErrForged or ErrStale.
func (r *Receiver) Verify(header http.Header, body []byte) error {
	id, timestamp, signatures := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp"), header.Get("Webhook-Signature")
	seconds, err := strconv.ParseInt(timestamp, 10, 64)
	if err != nil || id == "" || signatures == "" {
		return ErrUnsigned
	}
	if !r.signed(id, timestamp, body, signatures) {
		return ErrForged
	}
	if age := r.now().Sub(time.Unix(seconds, 0)); age.Abs() > receiverTolerance {
		return ErrStale
	}
	return nil
}

// signed tells whether one of the signatures is by one of the keys.
func (r *Receiver) signed(id, timestamp string, body []byte, signatures string) bool {
	for _, key := range r.keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.", id, timestamp)
		mac.Write(body)
		want := mac.Sum(nil)
		for one := range strings.FieldsSeq(signatures) {
			version, encoded, _ := strings.Cut(one, ",")
			got, err := base64.StdEncoding.DecodeString(encoded)
			if version == "v1" && err == nil && hmac.Equal(got, want) {
				return true
			}
		}
	}
	return false
}

// Event reads a request to a webhook's address, checks it and returns the event
// that it tells of. A message may come again: its Event has the same ID then.
// Answer with 401 where the error is one of Verify, and with 204 as soon as
// the event is kept.
func (r *Receiver) Event(request *http.Request) (api.Event, error) {
	body, err := io.ReadAll(io.LimitReader(request.Body, maxDelivery+1))
	if err != nil {
		return api.Event{}, fmt.Errorf("reading a delivery: %w", err)
	}
	if len(body) > maxDelivery {
		return api.Event{}, fmt.Errorf("reading a delivery: it is over %d bytes", maxDelivery)
	}
	if err := r.Verify(request.Header, body); err != nil {
		return api.Event{}, err
	}
	var event api.Event
	if err := json.Unmarshal(body, &event); err != nil {
		return api.Event{}, fmt.Errorf("reading an event: %w", err)
	}
	return event, nil
}
