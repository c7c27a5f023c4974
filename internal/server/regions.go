package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

var syncShape = shapeOf[api.SyncRequest]()

func (c *call) listRegions() error {
	ctx := c.r.Context()
	regions, err := c.store.Regions(ctx)
	if err != nil {
		return fmt.Errorf("listing regions: %w", err)
	}
	list := api.RegionList{Items: make([]api.Region, len(regions))}
	at := make(map[string]*api.Region, len(regions))
	for i, r := range regions {
		list.Items[i] = regionOnWire(r)
		list.Items[i].Prices = c.prices(r.Name)
		at[r.Name] = &list.Items[i]
	}
	if err := c.addJobs(ctx, at); err != nil {
		return err
	}
	return c.json(http.StatusOK, list)
}

func (c *call) showRegion() error {
	name, err := c.regionName()
	if err != nil {
		return err
	}
	region, err := c.store.Region(c.r.Context(), name)
	if err != nil {
		return fmt.Errorf("reading region %s: %w", name, err)
	}
	return c.oneRegion(region)
}

// oneRegion answers a region with its capacity, shape by shape.
func (c *call) oneRegion(region capacity.Region) error {
	wire := regionOnWire(region)
	wire.Prices = c.prices(region.Name)
	snapshot := region.Snapshot
	if snapshot.Nodes == nil {
		snapshot.Nodes = []capacity.NodeShape{}
	}
	wire.Capacity = &snapshot
	if err := c.addJobs(c.r.Context(), map[string]*api.Region{region.Name: &wire}); err != nil {
		return err
	}
	return c.json(http.StatusOK, wire)
}

// addJobs fills in what is counted per region: jobs by state, and what was
// promised and does not show in the region's report yet.
func (c *call) addJobs(ctx context.Context, regions map[string]*api.Region) error {
	counts, err := c.store.Counts(ctx)
	if err != nil {
		return fmt.Errorf("counting jobs: %w", err)
	}
	for _, count := range counts {
		if region := regions[count.Region]; region != nil && count.Jobs > 0 {
			region.Jobs[string(count.State)] += count.Jobs
		}
	}
	promises, err := c.store.Promises(ctx)
	if err != nil {
		return fmt.Errorf("reading what was promised: %w", err)
	}
	for _, promise := range promises {
		if region := regions[promise.Region]; region != nil {
			region.Promised = capacity.Resources(region.Promised).Add(promise.Demand.Total().Scale(int64(promise.Count)))
		}
	}
	return nil
}

// setSchedulable returns the handler of one of cordon, uncordon and drain.
func setSchedulable(do func(q Queue) func(context.Context, string) (capacity.Region, error)) func(*call) error {
	return func(c *call) error {
		name, err := c.regionName()
		if err == nil {
			err = c.noBody()
		}
		if err != nil {
			return err
		}
		region, err := do(c.queue)(c.r.Context(), name)
		if err != nil {
			return err
		}
		return c.oneRegion(region)
	}
}

// sync is the agent's one call. It may be held back, so it ends with the
// server; the agent then finds another one, or this one's successor.
func (c *call) sync() error {
	name, err := c.regionName()
	if err != nil {
		return err
	}
	var request api.SyncRequest
	if err := c.readJSON(syncShape, &request); err != nil {
		return err
	}
	if faults := syncFaults(request); len(faults) > 0 {
		return invalid(faults)
	}
	c.metrics.syncs.Inc()
	controller, stop := c.stream()
	defer stop()
	ctx := c.r.Context()
	response, err := c.queue.Sync(ctx, name, request)
	if err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return err
	}
	c.patience(controller)
	return c.json(http.StatusOK, response)
}

// Bounds of a region's capacity: whenever something is placed, in whatever
// region, all of it is looked at. A cluster has at most 5,000 nodes, says
// Kubernetes.
const (
	maxShapes    = 10_000
	maxResources = 256
)

// syncFaults checks what the shape cannot say. The bounds are far from what an
// agent sends; they keep a broken one from upsetting the arithmetic.
func syncFaults(r api.SyncRequest) []job.Fault {
	var faults []job.Fault
	add := func(ok bool, field, format string, args ...any) {
		if !ok && len(faults) < maxFaults {
			faults = append(faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
		}
	}
	add(len(r.Cluster) > 0 && len(r.Cluster) <= 253, "cluster", "should be 1 to 253 characters")
	add(r.MaxStart >= 0 && r.MaxStart <= 100_000, "maxStart", "%d is outside 0 to 100000", r.MaxStart)
	add(r.WaitSeconds >= 0 && r.WaitSeconds <= 600, "waitSeconds", "%v is outside 0 to 600", r.WaitSeconds)
	add(r.Sequence >= 0, "sequence", "%d is negative", r.Sequence)
	attempt := func(field string, i int, ref api.AttemptRef) {
		_, err := job.ParseID(ref.JobID)
		add(err == nil, fmt.Sprintf("%s[%d].jobId", field, i), "%q is no ID of a job", shorten([]byte(ref.JobID)))
		add(ref.Attempt > 0, fmt.Sprintf("%s[%d].attempt", field, i), "%d is not positive", ref.Attempt)
	}
	for i, o := range r.Observations {
		attempt("observations", i, o.AttemptRef)
	}
	for i, ref := range r.Known {
		attempt("known", i, ref)
	}
	if r.Inventory != nil {
		for i, ref := range r.Inventory.Items {
			attempt("inventory.items", i, ref)
		}
	}
	if r.Capacity != nil {
		shapes := len(r.Capacity.Nodes) + len(r.Capacity.Provisionable)
		add(shapes <= maxShapes, "capacity", "has %d kinds of nodes; %d are allowed", shapes, maxShapes)
		nodeFaults("capacity.nodes", r.Capacity.Nodes, add)
		nodeFaults("capacity.provisionable", r.Capacity.Provisionable, add)
	}
	return faults
}

func nodeFaults(field string, nodes []capacity.NodeShape, add func(ok bool, field, format string, args ...any)) {
	const most = 1_000_000
	for i, node := range nodes {
		add(node.Count >= 0 && node.Count <= most, fmt.Sprintf("%s[%d].count", field, i), "%d is outside 0 to %d", node.Count, most)
		add(len(node.Total) <= maxResources, fmt.Sprintf("%s[%d].total", field, i), "has %d resources; %d are allowed", len(node.Total), maxResources)
		for name, amount := range node.Total {
			add(amount >= 0, fmt.Sprintf("%s[%d].total.%s", field, i, name), "%d is negative", amount)
		}
	}
}
