package dynamodb

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/store"
)

// Where deliveries are, in table state.
const (
	// kindDelivery has the deliveries of a webhook by cursor, kindPayload what
	// they send, kindLane those that are open by subject, and kindBacklog how
	// many those are.
	kindDelivery = "delivery"
	kindPayload  = "payload"
	kindLane     = "lane"
	kindBacklog  = "backlog"

	// listDue has open deliveries of a webhook by when they may be tried, and
	// listSettled those that are settled by when that was.
	listDue     = "due "
	listSettled = "settled"

	attrOwner = "webhook"
)

// deliveryRecord is a delivery as it is stored, without its body.
type deliveryRecord struct {
	store.Delivery
	stamp stamp
}

// next is a copy to change.
func (r *deliveryRecord) next(s *Store) *deliveryRecord {
	after := *r
	after.Tries = slices.Clone(r.Tries)
	after.stamp = s.stamps.next(r.stamp)
	return &after
}

func cursorKey(cursor int64) string { return fmt.Sprintf("%019d", cursor) }

func (s *Store) deliveryShard(cursor int64) int { return int(cursor % int64(s.shards.List)) }

func (s *Store) deliveryKey(webhook string, cursor int64) item {
	return at(sharded(key(kindDelivery, webhook), s.deliveryShard(cursor)), cursorKey(cursor))
}

func (s *Store) payloadKey(webhook string, cursor int64) item {
	return at(sharded(key(kindPayload, webhook), s.deliveryShard(cursor)), cursorKey(cursor))
}

func laneKey(webhook, subject string) string { return key(kindLane, webhook, subject) }

func (s *Store) dueKey(r *deliveryRecord) item {
	return at(s.partitionOf(listDue+r.Webhook, s.deliveryShard(r.Cursor)), timeKey(r.DueAt)+"#"+cursorKey(r.Cursor))
}

func (s *Store) dueAction(r *deliveryRecord) types.TransactWriteItem {
	return s.putAction(TableState, with(s.dueKey(r), item{attrCursor: number(r.Cursor)}), "", nil)
}

// deliveryPlaces are where an open delivery waits, or a settled one.
func (s *Store) deliveryPlaces(r *deliveryRecord) []item {
	if r.State == store.DeliveryOpen {
		return []item{s.dueKey(r), at(laneKey(r.Webhook, r.Subject), cursorKey(r.Cursor))}
	}
	shard := s.deliveryShard(r.Cursor)
	return []item{at(s.partitionOf(listSettled, shard), timeKey(r.SettledAt)+"#"+key(r.Webhook, cursorKey(r.Cursor)))}
}

// deliveryMoves takes a delivery from its places before to those after; nil is
// nowhere.
func (s *Store) deliveryMoves(before, after *deliveryRecord) []types.TransactWriteItem {
	var from, to []item
	var more item
	if before != nil {
		from = s.deliveryPlaces(before)
	}
	if after != nil {
		to = s.deliveryPlaces(after)
		more = item{attrCursor: number(after.Cursor), attrOwner: text(after.Webhook)}
	}
	return s.shiftActions(from, to, more)
}

func (s *Store) deliveryItem(r *deliveryRecord) (item, error) {
	body, err := packJSON(&r.Delivery)
	return with(s.deliveryKey(r.Webhook, r.Cursor), item{attrBody: body, attrStamp: text(string(r.stamp)), attrCursor: number(r.Cursor)}), err
}

func deliveryOf(i item) (*deliveryRecord, error) {
	r := &deliveryRecord{stamp: stamp(textOf(i, attrStamp))}
	return r, wrap(unpackJSON(i, attrBody, &r.Delivery), "reading delivery %d", numberOf(i, attrCursor))
}

// delivery reads one delivery, without its body.
func (s *Store) delivery(ctx context.Context, webhook string, cursor int64) (*deliveryRecord, error) {
	found, err := s.get(ctx, TableState, s.deliveryKey(webhook, cursor))
	if err != nil {
		return nil, err
	}
	return deliveryOf(found)
}

// changeDelivery writes a delivery if it is as it was read, else
// store.ErrConflict.
func (s *Store) changeDelivery(ctx context.Context, before, after *deliveryRecord, more ...types.TransactWriteItem) error {
	i, err := s.deliveryItem(after)
	if err != nil {
		return err
	}
	actions := append([]types.TransactWriteItem{s.putAction(TableState, i, "stamp = :before", item{":before": text(string(before.stamp))})},
		s.deliveryMoves(before, after)...)
	return s.transactOne(ctx, unit{actions: append(actions, more...), refused: changedUnless(after.stamp)})
}

// Delivery returns one delivery with its body.
func (s *Store) Delivery(ctx context.Context, webhook string, cursor int64) (store.Delivery, error) {
	if _, err := s.webhook(ctx, webhook); err != nil {
		return store.Delivery{}, wrap(err, "reading a delivery of webhook %s", webhook)
	}
	r, err := s.delivery(ctx, webhook, cursor)
	if err != nil {
		return store.Delivery{}, wrap(err, "reading a delivery of webhook %s", webhook)
	}
	payload, err := s.get(ctx, TableState, s.payloadKey(webhook, cursor))
	if err == nil {
		r.Body, err = unpack(bytesOf(payload, attrBody))
	}
	return r.Delivery, wrap(err, "reading the body of delivery %d of webhook %s", cursor, webhook)
}

// deliveryPartitions are those of a webhook's deliveries.
func (s *Store) deliveryPartitions(webhook string) []string {
	all := make([]string, s.shards.List)
	for shard := range all {
		all[shard] = sharded(key(kindDelivery, webhook), shard)
	}
	return all
}

// Deliveries lists deliveries of one webhook, newest first.
func (s *Store) Deliveries(ctx context.Context, q store.DeliveryQuery) (store.DeliveryPage, error) {
	var page store.DeliveryPage
	if _, err := s.webhook(ctx, q.Webhook); err != nil || q.Limit <= 0 {
		return page, wrap(err, "reading deliveries of webhook %s", q.Webhook)
	}
	selected := query{table: TableState, newest: true, limit: maxRead}
	if q.State == "" && q.Subject == "" {
		selected.limit = min(maxRead, q.Limit+1)
	}
	if q.Before > 0 {
		selected.to = cursorKey(q.Before - 1)
	}
	items, err := s.merged(ctx, selected, s.deliveryPartitions(q.Webhook))
	if err != nil {
		return page, wrap(err, "reading deliveries of webhook %s", q.Webhook)
	}
	for n, i := range items {
		if len(page.Deliveries) == q.Limit {
			page.More = true
			return page, nil
		}
		r, err := deliveryOf(i)
		if err != nil {
			return page, err
		}
		page.Next, page.More = r.Cursor, n+1 == maxRead
		if (q.State == "" || q.State == r.State) && (q.Subject == "" || q.Subject == r.Subject) {
			page.Deliveries = append(page.Deliveries, r.Delivery)
		}
	}
	if !page.More {
		page.Next = 0
	}
	return page, nil
}

// PruneDeliveries removes old deliveries, and those of deleted webhooks.
func (s *Store) PruneDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	old, err := s.merged(ctx, query{table: TableState, to: timeKey(before), limit: limit}, s.partitionsOf(listSettled))
	if err != nil {
		return 0, wrap(err, "reading old deliveries")
	}
	var doomed []*deliveryRecord
	for _, i := range old {
		r, err := s.delivery(ctx, textOf(i, attrOwner), numberOf(i, attrCursor))
		if err != nil {
			r = &deliveryRecord{}
			r.Webhook, r.Cursor = textOf(i, attrOwner), numberOf(i, attrCursor)
		}
		if r.State == store.DeliveryOpen {
			continue // opened again since the list was read
		}
		doomed = append(doomed, r)
	}
	removed, err := len(doomed), s.dropDeliveries(ctx, doomed, old)
	if err != nil || removed >= limit {
		return removed, wrap(err, "removing old deliveries")
	}
	gone, err := s.all(ctx, query{table: TableState, pk: pkGone})
	if err != nil {
		return removed, wrap(err, "reading deleted webhooks")
	}
	for _, i := range gone {
		n, err := s.pruneGone(ctx, textOf(i, attrSK), limit-removed)
		if removed += n; err != nil || removed >= limit {
			return removed, wrap(err, "removing the deliveries of a deleted webhook")
		}
	}
	return removed, nil
}

// pruneGone removes deliveries of a webhook that was deleted, and its name when
// there are none left.
func (s *Store) pruneGone(ctx context.Context, webhook string, limit int) (int, error) {
	items, err := s.merged(ctx, query{table: TableState, limit: limit}, s.deliveryPartitions(webhook))
	if err != nil {
		return 0, err
	}
	var doomed []*deliveryRecord
	for _, i := range items {
		r, err := deliveryOf(i)
		if err != nil {
			return 0, err
		}
		doomed = append(doomed, r)
	}
	if err := s.dropDeliveries(ctx, doomed, nil); err != nil || len(items) == limit {
		return len(items), err
	}
	keys := []item{at(pkGone, webhook)}
	for n := range int64(backlogCounters) {
		keys = append(keys, backlogKey(webhook, n))
	}
	return len(items), s.remove(ctx, TableState, keys)
}

// dropDeliveries removes all that there is of deliveries, and last what leads
// to them: their records, or the places where they were found.
func (s *Store) dropDeliveries(ctx context.Context, doomed []*deliveryRecord, found []item) error {
	var rest, records, places []item
	for _, i := range found {
		places = append(places, at(textOf(i, attrPK), textOf(i, attrSK)))
	}
	for _, r := range doomed {
		rest = append(rest, s.payloadKey(r.Webhook, r.Cursor))
		if found == nil {
			rest = append(rest, s.deliveryPlaces(r)...)
		}
		records = append(records, s.deliveryKey(r.Webhook, r.Cursor))
	}
	for _, keys := range [][]item{rest, records, places} {
		if err := s.remove(ctx, TableState, keys); err != nil {
			return err
		}
	}
	return nil
}
