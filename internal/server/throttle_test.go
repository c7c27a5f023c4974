package server

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/gco-project/gco/internal/store"
)

// TestAThrottledStoreSlowsClients: a client that is told to slow down knows for
// how long, and one that is not told the outcome does not take it for that.
func TestAThrottledStoreSlowsClients(t *testing.T) {
	for err, want := range map[error]int{
		store.ErrThrottled:   http.StatusTooManyRequests,
		store.ErrUnavailable: http.StatusServiceUnavailable,
		store.ErrUnknown:     http.StatusServiceUnavailable,
	} {
		p := problemOf(fmt.Errorf("inserting a job: %w", err))
		if p.Status != want || p.header.Get("Retry-After") != "1" {
			t.Errorf("%v is answered with %d, Retry-After %q", err, p.Status, p.header.Get("Retry-After"))
		}
	}
}
