package webhook

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/store"
)

const (
	// claimMargin is how much longer a claim lasts than a try may: time to
	// settle it.
	claimMargin = 15 * time.Second
	// drainTime is how long tries may go on when the process stops.
	drainTime = 5 * time.Second
)

// deliverer makes deliveries, as many at a time as the settings allow. Who
// gets how many is decided anew for each claim, so that no number of slow
// receivers takes the whole pool:
//
//   - one webhook holds at most PerWebhook, and takes no more than it leaves
//     free: n webhooks that take all they can come to hold 1/(n+1) of the pool
//     each, and leave as much;
//   - one host and port gets at most PerHost;
//   - a webhook that only fails gets one.
//
// A place is free again when its delivery is settled in the store, not when
// the receiver has answered.
type deliverer struct {
	o      *Outbox
	plain  *http.Client
	secure *http.Client
	health *health

	// wake is signalled when there may be something to claim, or room for it.
	wake    chan struct{}
	results chan result
	tries   sync.WaitGroup

	mutex sync.Mutex
	hooks map[string]*hook
	busy  int
	hosts map[string]int
}

// hook is what the deliverer knows of one webhook.
type hook struct {
	store.Webhook
	host string
	busy int
	// ready says that deliveries may be due: some were dispatched, settled, or
	// not claimed for lack of room.
	ready bool
}

// result is a try that was made, on its way to the store.
type result struct {
	delivery store.Delivery
	hook     *hook
	host     string
	outcome  outcome
	// cut says that the try was ended because the process stops.
	cut bool
}

func newDeliverer(o *Outbox) *deliverer {
	return &deliverer{
		o:     o,
		plain: o.guard.client(false, o.Settings.PerHost, o.Resolver), secure: o.guard.client(true, o.Settings.PerHost, o.Resolver),
		health: newHealth(o), wake: make(chan struct{}, 1), results: make(chan result, max(1, o.Settings.Concurrency)),
		hooks: map[string]*hook{}, hosts: map[string]int{},
	}
}

func (d *deliverer) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// due says that deliveries were dispatched.
func (d *deliverer) due(deliveries []store.Delivery) {
	if len(deliveries) == 0 {
		return
	}
	d.mutex.Lock()
	for i := range deliveries {
		if h := d.hooks[deliveries[i].Webhook]; h != nil {
			h.ready = true
		}
	}
	d.mutex.Unlock()
	d.signal()
}

// run claims and starts deliveries until ctx ends, then waits for the tries
// that have begun.
func (d *deliverer) run(ctx context.Context) error {
	trying, stopTrying := context.WithCancel(context.WithoutCancel(ctx))
	defer stopTrying()
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		d.settleAll(context.WithoutCancel(ctx))
	}()
	d.loop(ctx, trying)
	draining, cancel := context.WithTimeout(trying, drainTime)
	defer cancel()
	stop := context.AfterFunc(draining, stopTrying)
	defer stop()
	d.tries.Wait()
	close(d.results)
	<-settled
	return nil
}

func (d *deliverer) loop(ctx, trying context.Context) {
	ticker := d.o.Clock.NewTicker(tick)
	defer ticker.Stop()
	for refresh := true; ; {
		if err := d.runOnce(ctx, trying, refresh); err != nil && ctx.Err() == nil {
			d.o.Log.Error("claiming deliveries to webhooks", "error", err)
		}
		refresh = false
		select {
		case <-d.wake:
		case <-ticker.C():
			refresh = true
		case <-ctx.Done():
			return
		}
	}
}

// runOnce claims what there is room for and starts it. With refresh it reads
// the webhooks again, and asks for the deliveries of all of them.
func (d *deliverer) runOnce(ctx, trying context.Context, refresh bool) error {
	if refresh {
		if err := d.refresh(ctx); err != nil {
			return err
		}
	}
	room, left := d.room()
	if len(room) == 0 {
		return nil
	}
	now := d.o.Clock.Now()
	claimed, err := d.o.Store.ClaimDeliveries(ctx, store.DeliveryClaim{
		Room: room, Name: uuid.NewString(), Now: now, Until: now.Add(d.o.Settings.Timeout + claimMargin),
	})
	if err != nil {
		d.again(room)
		return fmt.Errorf("claiming deliveries: %w", err)
	}
	d.start(trying, claimed, room)
	if left {
		d.signal()
	}
	return nil
}

// refresh reads the webhooks.
func (d *deliverer) refresh(ctx context.Context) error {
	all, err := d.o.Store.Webhooks(ctx)
	if err != nil {
		return fmt.Errorf("listing webhooks: %w", err)
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	seen := map[string]bool{}
	for _, w := range all {
		seen[w.ID] = true
		d.learn(w)
	}
	for id, h := range d.hooks {
		if !seen[id] && h.busy == 0 {
			delete(d.hooks, id)
			d.health.forget(id)
		}
	}
	return nil
}

func hostOf(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return address
	}
	return at.Host
}

// room is how many deliveries of each webhook may begin now. left says that
// some got nothing because it was promised to others, who may not need it.
func (d *deliverer) room() (room map[string]int, left bool) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	free := d.o.Settings.Concurrency - d.busy
	hosts := map[string]int{}
	room = map[string]int{}
	// The order of a map is random, so nobody is always the first.
	for id, h := range d.hooks {
		if !h.ready || h.Paused() {
			continue
		}
		most := d.o.Settings.PerWebhook
		if d.health.failing(id) {
			most = 1
		}
		n := min(most-h.busy, (free-h.busy+1)/2, d.o.Settings.PerHost-d.hosts[h.host]-hosts[h.host])
		if n <= 0 {
			left = left || (len(room) > 0 && h.busy < most)
			continue
		}
		room[id] = n
		hosts[h.host] += n
		free -= n
		h.ready = false
	}
	return room, left
}

// again asks for the same webhooks once more.
func (d *deliverer) again(room map[string]int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for id := range room {
		if h := d.hooks[id]; h != nil {
			h.ready = true
		}
	}
}

// start begins to try what was claimed.
func (d *deliverer) start(trying context.Context, claimed []store.Delivery, room map[string]int) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for i := range claimed {
		delivery := claimed[i]
		h := d.hooks[delivery.Webhook]
		if room[delivery.Webhook]--; room[delivery.Webhook] == 0 {
			h.ready = true
		}
		h.busy++
		d.busy++
		d.hosts[h.host]++
		webhook, host := h.Webhook, h.host
		d.tries.Go(func() {
			out := d.attempt(trying, &webhook, &delivery)
			d.results <- result{delivery: delivery, hook: h, host: host, outcome: out, cut: !out.done && trying.Err() != nil}
		})
	}
}

const (
	// settlePage is how many results are settled in one write.
	settlePage = 256
	// settlePause is how long to wait after a settlement that failed.
	settlePause = 500 * time.Millisecond
)

// settleAll settles results until there are no more. Those that are there
// together share a write.
func (d *deliverer) settleAll(ctx context.Context) {
	for first := range d.results {
		batch := []result{first}
	more:
		for len(batch) < settlePage {
			select {
			case r, ok := <-d.results:
				if !ok {
					break more
				}
				batch = append(batch, r)
			default:
				break more
			}
		}
		d.settle(ctx, batch)
		d.release(batch)
		d.signal()
	}
}

// settle writes what became of some deliveries. It tries for as long as their
// claims last: after that they are made again, by whoever claims them.
func (d *deliverer) settle(ctx context.Context, batch []result) {
	now := d.o.Clock.Now()
	settlements := make([]store.Settlement, len(batch))
	for i, r := range batch {
		settlements[i] = d.o.Settings.settlement(&r.delivery, r.outcome, now.UTC())
		if r.cut {
			settlements[i].State, settlements[i].Reason = store.DeliveryOpen, ""
			settlements[i].Try, settlements[i].DueAt = nil, now.UTC()
		}
	}
	for {
		errs, err := d.o.Store.SettleDeliveries(ctx, settlements)
		if err == nil {
			d.settled(ctx, batch, settlements, errs)
			return
		}
		d.o.Log.Error("settling deliveries to webhooks", "deliveries", len(batch), "error", err)
		if d.o.Clock.Since(now) > claimMargin {
			return
		}
		d.o.Clock.Sleep(settlePause)
	}
}

// settled counts what was settled, and watches over the webhooks.
func (d *deliverer) settled(ctx context.Context, batch []result, settlements []store.Settlement, errs []error) {
	for i, r := range batch {
		if errs[i] != nil {
			d.o.Log.Debug("a delivery was settled by someone else", "webhook", r.delivery.Webhook, "event", r.delivery.EventID, "error", errs[i])
		}
		if r.cut {
			continue
		}
		d.o.metrics.tried(settlements[i].State, r.outcome)
		if settlements[i].State == store.DeliveryDead {
			d.o.Log.Warn("a delivery to a webhook was given up",
				"webhook", r.delivery.Webhook, "event", r.delivery.EventID, "reason", settlements[i].Reason)
		}
		d.health.tried(ctx, r.delivery.Webhook, r.outcome)
	}
}

// release makes room again.
func (d *deliverer) release(batch []result) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	for _, r := range batch {
		r.hook.busy--
		r.hook.ready = true
		d.busy--
		if d.hosts[r.host]--; d.hosts[r.host] == 0 {
			delete(d.hosts, r.host)
		}
	}
}

// changed takes over a webhook that was made or changed here, before the next
// tick.
func (d *deliverer) changed(w store.Webhook) {
	d.mutex.Lock()
	d.learn(w)
	d.mutex.Unlock()
	d.signal()
}

// learn takes over what a webhook is, unless something newer is known.
func (d *deliverer) learn(w store.Webhook) {
	h := d.hooks[w.ID]
	if h == nil {
		h = &hook{}
		d.hooks[w.ID] = h
		d.health.know(w)
	}
	if w.Version >= h.Version {
		if h.Paused() && !w.Paused() {
			// Whoever resumed it forgave what was before.
			d.health.reset(w.ID)
		}
		h.Webhook, h.host = w, hostOf(w.URL)
	}
	h.ready = true
}
