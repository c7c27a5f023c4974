package queue

import (
	"context"
	"fmt"
	"time"
)

const (
	// prunePage keeps each delete short: writers wait behind it.
	prunePage = 100
	// keepRegionEvents is how long the stream remembers events of regions.
	keepRegionEvents = 7 * 24 * time.Hour
)

// pruner removes the records of jobs whose time after the end has passed,
// and old events of regions.
type pruner struct{ q *Queue }

func (p *pruner) run(ctx context.Context) error {
	ticker := p.q.Clock.NewTicker(30 * p.q.Timing.Tick)
	defer ticker.Stop()
	for {
		for more := p.q.Leading(); more && ctx.Err() == nil; {
			var err error
			if more, err = p.runOnce(ctx); err != nil && ctx.Err() == nil {
				p.q.Log.Error("pruning", "error", err)
			}
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// runOnce removes one page, and tells whether there may be another.
func (p *pruner) runOnce(ctx context.Context) (more bool, err error) {
	now := p.q.Clock.Now()
	ids, err := p.q.Store.Expired(ctx, now, prunePage)
	if err != nil {
		return false, fmt.Errorf("listing expired jobs: %w", err)
	}
	removed := 0
	if len(ids) > 0 {
		p.q.Pruned(ctx, ids)
		errs, err := p.q.Store.Delete(ctx, ids, now, keepKeys)
		if err != nil {
			return false, fmt.Errorf("deleting expired jobs: %w", err)
		}
		for _, err := range errs {
			// One whose events are still to be dispatched waits for the next time.
			if err == nil {
				removed++
			}
		}
	}
	events, err := p.q.Store.PruneRegionEvents(ctx, now.Add(-keepRegionEvents), prunePage)
	if err != nil {
		return false, fmt.Errorf("deleting old events: %w", err)
	}
	return removed == prunePage || events == prunePage, nil
}
