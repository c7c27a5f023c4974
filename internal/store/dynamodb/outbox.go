package dynamodb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/store"
)

const (
	skOutbox   = "outbox"
	attrCursor = "cursor"
	attrOpen   = "open_n"

	// maxClaim bounds the deliveries of one claim.
	maxClaim = 1000
	// outboxTries is how often a delivery is looked at anew that others changed.
	outboxTries = 50
)

// OutboxCursor is the cursor up to which events have been dispatched.
func (s *Store) OutboxCursor(ctx context.Context) (int64, error) {
	found, err := s.get(ctx, TableState, at(pkMeta, skOutbox))
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return numberOf(found, attrCursor), wrap(err, "reading the outbox")
}

// dispatchGate is the cursor up to which events may go: those that somebody
// listens to have been dispatched.
func (s *Store) dispatchGate(ctx context.Context) (int64, error) {
	hooks, err := s.allWebhooks(ctx)
	if err != nil {
		return 0, err
	}
	least, listening := int64(math.MaxInt64), false
	for i := range hooks {
		if !hooks[i].Paused() {
			least, listening = min(least, hooks[i].After), true
		}
	}
	if !listening {
		return math.MaxInt64, nil
	}
	cursor, err := s.OutboxCursor(ctx)
	return max(cursor, least), err
}

// passed returns store.ErrUndispatched for a subject with events after the
// gate, or that may have some.
func (s *Store) passed(ctx context.Context, subject string, gate int64) error {
	if gate == math.MaxInt64 {
		return nil
	}
	v, err := s.log.fresh(ctx)
	if err != nil {
		return err
	}
	_, until, first := v.bounds(s.log)
	from := max(first, pageOf(gate))
	if until-from >= recentPages {
		return store.ErrUndispatched
	}
	for page := from; page <= until; page++ {
		entries, err := s.log.entriesOf(ctx, page)
		if err != nil {
			return err
		}
		for i := range entries {
			if entries[i].Subject == subject && entries[i].event() && cursorOf(page, i) > gate {
				return store.ErrUndispatched
			}
		}
	}
	return nil
}

// Dispatch adds deliveries and moves the cursor. The deliveries come first: who
// does it again finds them. Of one lane they come one after the other, so that
// nobody claims the second before the first is there.
func (s *Store) Dispatch(ctx context.Context, from, to int64, deliveries []store.Delivery) error {
	return wrap(s.dispatch(ctx, from, to, deliveries), "dispatching events %d to %d", from+1, to)
}

func (s *Store) dispatch(ctx context.Context, from, to int64, deliveries []store.Delivery) error {
	cursor, err := s.OutboxCursor(ctx)
	if err != nil {
		return err
	}
	if cursor != from {
		return fmt.Errorf("%w: the outbox is at %d, not at %d", store.ErrConflict, cursor, from)
	}
	known, err := s.webhookIDs(ctx)
	if err != nil {
		return err
	}
	for _, wave := range lanes(deliveries, known) {
		units := make([]unit, len(wave))
		for n, d := range wave {
			if units[n], err = s.additionOf(d); err != nil {
				return err
			}
		}
		for _, err := range s.transact(ctx, nil, units) {
			if err != nil && !errors.Is(err, errThere) {
				return err
			}
		}
	}
	condition, values := "attribute_not_exists(pk)", item(nil)
	if from != 0 {
		condition, values = "#cursor = :from", item{":from": number(from)}
	}
	u := update{
		table: TableState, key: at(pkMeta, skOutbox), expression: "SET #cursor = :to", condition: condition,
		names: map[string]string{"#cursor": attrCursor}, values: with(item{":to": number(to)}, values),
	}
	return s.updateOne(ctx, u)
}

// webhookIDs are those of the webhooks that exist.
func (s *Store) webhookIDs(ctx context.Context) (map[string]bool, error) {
	names, err := s.all(ctx, query{table: TableState, pk: pkWebhooks})
	known := make(map[string]bool, len(names))
	for _, i := range names {
		known[textOf(i, attrSK)] = true
	}
	return known, err
}

// lanes puts the deliveries of known webhooks into waves, each with one of a
// lane, in the order of their cursors.
func lanes(deliveries []store.Delivery, known map[string]bool) [][]*store.Delivery {
	sorted := make([]*store.Delivery, 0, len(deliveries))
	for i := range deliveries {
		if known[deliveries[i].Webhook] {
			sorted = append(sorted, &deliveries[i])
		}
	}
	slices.SortStableFunc(sorted, func(a, b *store.Delivery) int { return cmp.Compare(a.Cursor, b.Cursor) })
	var waves [][]*store.Delivery
	depth := map[[2]string]int{}
	for _, d := range sorted {
		lane := [2]string{d.Webhook, d.Subject}
		if depth[lane] == len(waves) {
			waves = append(waves, nil)
		}
		waves[depth[lane]] = append(waves[depth[lane]], d)
		depth[lane]++
	}
	return waves
}

// errThere says that a delivery exists.
var errThere = errors.New("it is there already")

// additionOf is the one write that adds an open delivery.
func (s *Store) additionOf(d *store.Delivery) (unit, error) {
	r := &deliveryRecord{Delivery: *d, stamp: s.stamps.next("")}
	r.State, r.DueAt, r.Claim = store.DeliveryOpen, d.OpenedAt, ""
	r.Reason, r.Attempts, r.Tries = "", 0, nil
	i, err := s.deliveryItem(r)
	if err != nil {
		return unit{}, err
	}
	actions := []types.TransactWriteItem{
		s.putAction(TableState, i, "attribute_not_exists(pk)", nil),
		s.putAction(TableState, with(s.payloadKey(d.Webhook, d.Cursor), item{attrBody: binary(pack(d.Body))}), "", nil),
		s.backlogAction(d.Webhook, d.Cursor, 1),
	}
	actions = append(actions, s.deliveryMoves(nil, r)...)
	return unit{actions: actions, refused: func(_ int, found item) error {
		if textOf(found, attrStamp) == string(r.stamp) {
			return nil
		}
		return errThere
	}}, nil
}

// backlogAction counts open deliveries.
func (s *Store) backlogAction(webhook string, cursor, n int64) types.TransactWriteItem {
	return s.updateAction(update{
		table: TableState, key: backlogKey(webhook, cursor),
		expression: "ADD #open :n", names: map[string]string{"#open": attrOpen}, values: item{":n": number(n)},
	})
}

// backlogCounters is how many counters a webhook has, so that few writes meet
// on one.
const backlogCounters = 64

func backlogKey(webhook string, n int64) item {
	return at(key(kindBacklog, webhook), fmt.Sprintf("%02d", n%backlogCounters))
}

// Backlogs reads the counters of open deliveries.
func (s *Store) Backlogs(ctx context.Context) ([]store.Backlog, error) {
	known, err := s.webhookIDs(ctx)
	if err != nil {
		return nil, wrap(err, "reading backlogs")
	}
	var mu sync.Mutex
	var all []store.Backlog
	ids := slices.Collect(func(yield func(string) bool) {
		for id := range known {
			if !yield(id) {
				return
			}
		}
	})
	err = each(ctx, len(ids), func(ctx context.Context, n int) error {
		items, err := s.all(ctx, query{table: TableState, pk: key(kindBacklog, ids[n])})
		var open int64
		for _, i := range items {
			open += numberOf(i, attrOpen)
		}
		mu.Lock()
		defer mu.Unlock()
		if open > 0 {
			all = append(all, store.Backlog{Webhook: ids[n], Open: open})
		}
		return err
	})
	slices.SortFunc(all, func(a, b store.Backlog) int { return cmp.Compare(a.Webhook, b.Webhook) })
	return all, wrap(err, "reading backlogs")
}

// Redeliver adds deliveries, or opens them again.
func (s *Store) Redeliver(ctx context.Context, deliveries []store.Delivery, states []store.DeliveryState) (int, error) {
	known, err := s.webhookIDs(ctx)
	if err != nil {
		return 0, wrap(err, "opening deliveries again")
	}
	opened := 0
	for _, wave := range lanes(deliveries, known) {
		did := make([]bool, len(wave))
		err := each(ctx, len(wave), func(ctx context.Context, n int) (err error) {
			did[n], err = s.redeliver(ctx, wave[n], states)
			return err
		})
		for _, one := range did {
			if one {
				opened++
			}
		}
		if err != nil {
			return opened, wrap(err, "opening deliveries again")
		}
	}
	return opened, nil
}

// redeliver opens one delivery; it may come before those that are open.
func (s *Store) redeliver(ctx context.Context, d *store.Delivery, states []store.DeliveryState) (bool, error) {
	for range outboxTries {
		before, err := s.delivery(ctx, d.Webhook, d.Cursor)
		if errors.Is(err, store.ErrNotFound) {
			if len(d.Body) == 0 {
				return false, nil
			}
			u, err := s.additionOf(d)
			if err != nil {
				return false, err
			}
			if err := s.transactOne(ctx, u); !errors.Is(err, errThere) {
				return err == nil, err
			}
			continue
		}
		if err != nil || before.State == store.DeliveryOpen || !slices.Contains(states, before.State) {
			return false, err
		}
		after := before.next(s)
		after.Reopen(d.OpenedAt)
		if err := s.changeDelivery(ctx, before, after, s.backlogAction(d.Webhook, d.Cursor, 1)); !errors.Is(err, store.ErrConflict) {
			return err == nil, err
		}
	}
	return false, fmt.Errorf("%w: delivery %d changes all the time", store.ErrUnavailable, d.Cursor)
}

// ClaimDeliveries claims due deliveries that are the first of their lane.
func (s *Store) ClaimDeliveries(ctx context.Context, claim store.DeliveryClaim) ([]store.Delivery, error) {
	known, err := s.webhookIDs(ctx)
	if err != nil {
		return nil, wrap(err, "claiming deliveries")
	}
	var all []store.Delivery
	for webhook, room := range claim.Room {
		if !known[webhook] {
			continue
		}
		claimed, err := s.claimOf(ctx, webhook, min(room, maxClaim-len(all)), claim)
		if all = append(all, claimed...); err != nil && len(all) == 0 {
			return nil, wrap(err, "claiming deliveries")
		}
	}
	slices.SortFunc(all, func(a, b store.Delivery) int {
		return cmp.Or(cmp.Compare(a.Webhook, b.Webhook), cmp.Compare(a.Cursor, b.Cursor))
	})
	return all, nil
}

// claimOf claims deliveries of one webhook. Those that are not the first of
// their lane leave the list of what is due; whoever settles the one before
// puts them back.
func (s *Store) claimOf(ctx context.Context, webhook string, room int, claim store.DeliveryClaim) ([]store.Delivery, error) {
	var all []store.Delivery
	for from := ""; room > len(all); {
		wanted := room - len(all)
		items, err := s.merged(ctx, query{table: TableState, from: from, to: timeKey(claim.Now) + afterAll, limit: wanted}, s.partitionsOf(listDue+webhook))
		if err != nil || len(items) == 0 {
			return all, err
		}
		claimed := make([]*store.Delivery, len(items))
		err = each(ctx, len(items), func(ctx context.Context, n int) (err error) {
			claimed[n], err = s.claimOne(ctx, webhook, items[n], claim)
			return err
		})
		for _, d := range claimed {
			if d != nil {
				all = append(all, *d)
			}
		}
		if err != nil || len(items) < wanted {
			return all, err
		}
		from = textOf(items[len(items)-1], attrSK) + "\x01"
	}
	return all, nil
}

// claimOne claims the delivery of an item in the list of what is due; nil where
// it is not to be had.
func (s *Store) claimOne(ctx context.Context, webhook string, due item, claim store.DeliveryClaim) (*store.Delivery, error) {
	for range outboxTries {
		d, err := s.tryClaim(ctx, webhook, numberOf(due, attrCursor), claim)
		if !errors.Is(err, store.ErrConflict) {
			return d, err
		}
	}
	return nil, nil
}

// tryClaim is one attempt; store.ErrConflict says that the delivery changed.
func (s *Store) tryClaim(ctx context.Context, webhook string, cursor int64, claim store.DeliveryClaim) (*store.Delivery, error) {
	before, err := s.delivery(ctx, webhook, cursor)
	if errors.Is(err, store.ErrNotFound) || err == nil && (before.State != store.DeliveryOpen || before.DueAt.After(claim.Now)) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	first, err := s.firstOf(ctx, webhook, before.Subject, 0)
	if err != nil {
		return nil, err
	}
	if first != cursor && first != 0 {
		return nil, s.unlist(ctx, before, first)
	}
	after := before.next(s)
	after.Claim, after.DueAt = claim.Name, claim.Until
	if err := s.changeDelivery(ctx, before, after); err != nil {
		return nil, err
	}
	payload, err := s.get(ctx, TableState, s.payloadKey(webhook, cursor))
	if err != nil {
		return nil, err
	}
	after.Body, err = unpack(bytesOf(payload, attrBody))
	return &after.Delivery, err
}

// firstOf is the cursor of the first open delivery of a lane, but for one; 0 is
// none.
func (s *Store) firstOf(ctx context.Context, webhook, subject string, but int64) (int64, error) {
	items, err := s.all(ctx, query{table: TableState, pk: laneKey(webhook, subject), limit: 2})
	for _, i := range items {
		if cursor := numberOf(i, attrCursor); cursor != but {
			return cursor, err
		}
	}
	return 0, err
}

// unlist takes a delivery that is not the first of its lane from the list of
// what is due. The first one gets another stamp: whoever settles it looks for
// the next one again.
func (s *Store) unlist(ctx context.Context, blocked *deliveryRecord, first int64) error {
	before, err := s.delivery(ctx, blocked.Webhook, first)
	if errors.Is(err, store.ErrNotFound) || err == nil && before.State != store.DeliveryOpen {
		return nil
	}
	if err != nil {
		return err
	}
	return s.changeDelivery(ctx, before, before.next(s), s.deleteAction(TableState, s.dueKey(blocked), "", nil))
}

// SettleDeliveries settles each delivery by itself.
func (s *Store) SettleDeliveries(ctx context.Context, settlements []store.Settlement) ([]error, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	errs := make([]error, len(settlements))
	_ = each(ctx, len(settlements), func(ctx context.Context, n int) error {
		errs[n] = wrap(s.settle(ctx, &settlements[n]), "settling delivery %d of webhook %s", settlements[n].Cursor, settlements[n].Webhook)
		return nil
	})
	return errs, nil
}

// settle settles one delivery, or decides not to.
func (s *Store) settle(ctx context.Context, to *store.Settlement) error {
	for range outboxTries {
		before, err := s.delivery(ctx, to.Webhook, to.Cursor)
		if err != nil {
			return err
		}
		if before.State != store.DeliveryOpen || before.Claim != to.Claim {
			return fmt.Errorf("%w: it is %s, claimed by %q", store.ErrConflict, before.State, before.Claim)
		}
		after := before.next(s)
		after.Settle(to)
		var more []types.TransactWriteItem
		if after.State != store.DeliveryOpen {
			more = append(more, s.backlogAction(to.Webhook, to.Cursor, -1))
			if more, err = s.freeNext(ctx, before, more); err != nil {
				return err
			}
		}
		if err := s.changeDelivery(ctx, before, after, more...); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("%w: it changes all the time", store.ErrUnavailable)
}

// freeNext puts the next delivery of a lane back on the list of what is due.
func (s *Store) freeNext(ctx context.Context, settled *deliveryRecord, actions []types.TransactWriteItem) ([]types.TransactWriteItem, error) {
	cursor, err := s.firstOf(ctx, settled.Webhook, settled.Subject, settled.Cursor)
	if err != nil || cursor == 0 {
		return actions, err
	}
	next, err := s.delivery(ctx, settled.Webhook, cursor)
	if errors.Is(err, store.ErrNotFound) || err == nil && next.State != store.DeliveryOpen {
		return actions, nil
	}
	if err != nil {
		return nil, err
	}
	return append(actions, s.dueAction(next)), nil
}
