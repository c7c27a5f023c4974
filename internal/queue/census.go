package queue

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/gco-project/gco/internal/capacity"
)

// census knows whether every region is accounted for. Data that were restored
// may have forgotten what was placed since: a job that waits in them may run
// in a region that has not been heard yet. So nothing starts anywhere until
// each region has sent its inventory, which ends what it holds of before, or
// an operator has written it off.
//
// Data are restored while no server runs on them, so a census that is complete
// stays so.
type census struct {
	q        *Queue
	mu       sync.Mutex
	complete bool
	said     string
}

// awaited lists the regions that are missing, by name.
func (c *census) awaited(ctx context.Context) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.complete {
		return nil, nil
	}
	regions, err := c.q.Store.Regions(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading regions: %w", err)
	}
	var missing []string
	for _, region := range regions {
		if !region.AwaitedSince.IsZero() {
			missing = append(missing, region.Name)
		}
	}
	c.complete = len(missing) == 0
	c.say(missing)
	return missing, nil
}

// say logs what has changed.
func (c *census) say(missing []string) {
	names := strings.Join(missing, ", ")
	switch names {
	case c.said:
		return
	case "":
		c.q.Log.Info("every region is accounted for since the data were restored; jobs start again")
	default:
		c.q.Log.Warn("the data were restored: nothing starts until these regions have sent their inventory or are written off", "regions", names)
	}
	c.said = names
}

// arrived tells all who were held back that a region is accounted for.
func (c *census) arrived(ctx context.Context) error {
	c.mu.Lock()
	complete := c.complete
	c.mu.Unlock()
	if complete {
		return nil
	}
	missing, err := c.awaited(ctx)
	if err != nil || len(missing) > 0 {
		return err
	}
	regions, err := c.q.Store.Regions(ctx)
	if err != nil {
		return fmt.Errorf("reading regions: %w", err)
	}
	for _, region := range regions {
		c.q.regions.notify(region.Name)
	}
	c.q.wakePlacer()
	return nil
}

// WriteOff gives up a region whose inventory is awaited since the data were
// restored: what it held is lost, and goes elsewhere. Whoever calls it knows
// that nothing runs there any more. The error for a region that is not
// awaited is store.ErrConflict.
func (q *Queue) WriteOff(ctx context.Context, region string) (capacity.Region, error) {
	r, err := q.Store.WriteOff(ctx, region, q.Clock.Now())
	if err != nil {
		return capacity.Region{}, fmt.Errorf("writing off region %s: %w", region, err)
	}
	q.Log.Warn("region written off", "region", region)
	q.events.notify("")
	q.rescuer.wake()
	return r, q.census.arrived(ctx)
}
