package webhook

import (
	"context"
	"fmt"
	"time"
)

const (
	// sweepEvery is how often the sweeper looks.
	sweepEvery = 10 * time.Second
	// sweepPage keeps each delete short: writers wait behind it.
	sweepPage = 200
)

// sweep runs the sweeper until ctx ends.
func (o *Outbox) sweep(ctx context.Context) error {
	ticker := o.Clock.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		for more := o.Leading(); more && ctx.Err() == nil; {
			var err error
			if more, err = o.sweepOnce(ctx); err != nil && ctx.Err() == nil {
				o.Log.Error("sweeping deliveries to webhooks", "error", err)
			}
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// sweepOnce removes one page of old deliveries, and tells whether there may be
// another. At the end it pauses webhooks that are too far behind: an address
// that nobody serves must not fill the disk.
func (o *Outbox) sweepOnce(ctx context.Context) (more bool, err error) {
	removed, err := o.Store.PruneDeliveries(ctx, o.Clock.Now().Add(-o.Settings.KeepDeliveries), sweepPage)
	if err != nil {
		return false, fmt.Errorf("removing old deliveries: %w", err)
	}
	if removed == sweepPage {
		return true, nil
	}
	backlogs, err := o.Store.Backlogs(ctx)
	if err != nil {
		return false, fmt.Errorf("reading the backlogs: %w", err)
	}
	for _, b := range backlogs {
		if b.Open < o.Settings.PauseBacklog {
			continue
		}
		if err := o.pause(ctx, b.Webhook, PausedBacklog, fmt.Sprintf("%d deliveries are open", b.Open)); err != nil {
			return false, err
		}
	}
	return false, nil
}
