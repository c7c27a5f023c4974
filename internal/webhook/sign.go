package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/store"
)

// The headers of Standard Webhooks 1.0.
const (
	headerID        = "webhook-id"
	headerTimestamp = "webhook-timestamp"
	headerSignature = "webhook-signature"
)

// secretPrefix begins the text of a secret.
const secretPrefix = "whsec_"

// The lengths of a key, in bytes, that Standard Webhooks allows; ours are
// keyLength long.
const (
	minKey    = 24
	maxKey    = 64
	keyLength = 32
)

// newKey returns a key that nobody can guess.
func newKey() []byte {
	key := make([]byte, keyLength)
	_, _ = rand.Read(key) // it never fails
	return key
}

// secretText is a key as users see it, once.
func secretText(key []byte) string { return secretPrefix + base64.StdEncoding.EncodeToString(key) }

// parseSecret reads a secret that a user chose.
func parseSecret(text string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(text, secretPrefix)
	if !ok {
		return nil, errors.New("should begin with " + secretPrefix)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, errors.New("should be base64 after " + secretPrefix)
	}
	if len(key) < minKey || len(key) > maxKey {
		return nil, fmt.Errorf("should be %d to %d bytes, and is %d", minKey, maxKey, len(key))
	}
	return key, nil
}

// sign sets the headers that identify a message and prove who sent it: one
// signature for each secret that is valid.
func sign(header http.Header, id string, at time.Time, body []byte, secrets []store.WebhookSecret) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	var signatures []string
	for _, secret := range secrets {
		if secret.ExpiresAt.IsZero() || at.Before(secret.ExpiresAt) {
			signatures = append(signatures, signature(secret.Key, id, timestamp, body))
		}
	}
	// Receivers know these names in lower case; HTTP does not mind.
	header.Set(headerID, id)
	header.Set(headerTimestamp, timestamp)
	header.Set(headerSignature, strings.Join(signatures, " "))
}

func signature(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.", id, timestamp)
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
