package webhook

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/gco-project/gco/internal/store"
)

// jitter is how far a wait may be from the one in the settings, as a share of
// it.
const jitter = 0.2

// backoff is how long to wait after so many tries that failed: a little more
// or less than the settings say, so that receivers that fell together do not
// get everything at once. false says that there is none left.
func backoff(waits []time.Duration, attempts int) (time.Duration, bool) {
	if attempts > len(waits) {
		return 0, false
	}
	wait := waits[attempts-1]
	return wait + time.Duration((2*rand.Float64()-1)*jitter*float64(wait)), true //nolint:gosec // nobody gains by guessing a wait
}

// settlement is what becomes of a delivery after a try.
func (s *Settings) settlement(d *store.Delivery, out outcome, now time.Time) store.Settlement {
	settled := store.Settlement{Webhook: d.Webhook, Cursor: d.Cursor, Claim: d.Claim, Try: &out.try, Now: now}
	attempts := d.Attempts + 1
	wait, left := backoff(s.Retries, attempts)
	switch {
	case out.done:
		settled.State = store.DeliveryDone
	case out.gone:
		settled.State, settled.Reason = store.DeliveryDead, "the receiver answered 410: it wants no more"
	case !left:
		settled.State, settled.Reason = store.DeliveryDead, fmt.Sprintf("all %d tries failed", attempts)
	default:
		settled.State, settled.DueAt = store.DeliveryOpen, now.Add(max(wait, out.retryAfter))
	}
	return settled
}
