package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/store"
)

const (
	// viewEvery is after how many pages a snapshot of the view is written: a
	// process that starts reads at most so many.
	viewEvery = 256
	// partSize keeps a part well under the limit of an item, 400 KB.
	partSize = 300 << 10
	// loadTries is how often a snapshot may be replaced while it is read.
	loadTries = 5
)

// keptView is a view as a snapshot has it.
type keptView struct {
	Page     int64                    `json:"page"`
	Last     int64                    `json:"last"`
	Newest   int64                    `json:"newest"`
	Counts   []keptCount              `json:"counts"`
	Promises []keptPromise            `json:"promises"`
	Minutes  []keptMinute             `json:"minutes"`
	Members  map[string]map[int]int64 `json:"members"`
	Heads    map[capacity.Class]head  `json:"heads"`
}

type keptCount struct {
	countKey
	N int64
}

type keptPromise struct {
	promiseKey
	N int64
}

type keptMinute struct {
	minuteKey
	N int64
}

// keep copies the view.
func (v *view) keep() ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := keptView{Page: v.page, Last: v.last, Newest: v.newest, Members: v.members, Heads: v.heads}
	for key, n := range v.counts {
		k.Counts = append(k.Counts, keptCount{key, n})
	}
	for key, n := range v.promises {
		k.Promises = append(k.Promises, keptPromise{key, n})
	}
	for key, n := range v.minutes {
		k.Minutes = append(k.Minutes, keptMinute{key, n})
	}
	return json.Marshal(k)
}

// restoreView undoes keep. What of its last page is in the tail it does not
// know: a page must follow before another is written, or that page be read
// again.
func restoreView(text []byte) (*view, error) {
	var k keptView
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	v := newView()
	v.page, v.last, v.newest = k.Page, k.Last, k.Newest
	for _, c := range k.Counts {
		v.counts[c.countKey] = c.N
	}
	for _, p := range k.Promises {
		v.promises[p.promiseKey] = p.N
	}
	for _, m := range k.Minutes {
		v.minutes[m.minuteKey] = m.N
	}
	if k.Members != nil {
		v.members = k.Members
	}
	if k.Heads != nil {
		v.heads = k.Heads
	}
	return v, nil
}

// keepView writes a snapshot when the last one is old.
func (l *log) keepView(ctx context.Context, head logHead) error {
	if l.v.page-head.snapshot < viewEvery {
		return nil
	}
	text, err := l.v.keep()
	if err != nil {
		return err
	}
	parts := slices.Collect(slices.Chunk(pack(text), partSize))
	for n, part := range parts {
		if _, _, err := l.s.put(ctx, TableEvents, with(viewKey(l.v.page, n), item{attrBody: binary(part)}), "", nil); err != nil {
			return err
		}
	}
	err = l.s.updateOne(ctx, update{
		table: TableEvents, key: at(pkLog, skHead),
		expression: "SET #view = :page, #parts = :parts", condition: "attribute_not_exists(#view) OR #view < :page",
		names:  map[string]string{"#view": attrSnapshot, "#parts": attrParts},
		values: item{":page": number(l.v.page), ":parts": number(int64(len(parts)))},
	})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err != nil || head.snapshot == 0 {
		return err
	}
	var old []item
	for n := range head.parts {
		old = append(old, viewKey(head.snapshot, int(n)))
	}
	return l.s.remove(ctx, TableEvents, old)
}

func viewKey(page int64, part int) item {
	return at(key(kindView, fmt.Sprintf("%016d", page)), fmt.Sprintf("%04d", part))
}

// updateOne changes an item by itself; store.ErrConflict when the condition
// does not hold.
func (s *Store) updateOne(ctx context.Context, u update) error {
	ctx, cancel := committed(ctx)
	defer cancel()
	var pauses pauses
	for {
		_, err := s.client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: s.name(u.table), Key: u.key, UpdateExpression: aws.String(u.expression), ConditionExpression: optional(u.condition),
			ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.values,
		}, once)
		if _, refused := refusedItem(err); refused {
			return store.ErrConflict
		}
		if failure := afterWrite(err); failure == nil || !repeatable(failure, err) || !pauses.wait(ctx) {
			return failure
		}
	}
}

// load reads the newest snapshot, or begins at the beginning.
func (l *log) load(ctx context.Context, head logHead) (*view, error) {
	for range loadTries {
		v, err := l.loadOnce(ctx, head)
		if !errors.Is(err, store.ErrNotFound) {
			return v, err
		}
		if head, err = l.readHead(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("the parts of the view at page %d of the log are missing", head.snapshot)
}

func (l *log) loadOnce(ctx context.Context, head logHead) (*view, error) {
	if head.snapshot == 0 {
		return newView(), nil
	}
	var packed []byte
	for n := range head.parts {
		found, err := l.s.get(ctx, TableEvents, viewKey(head.snapshot, int(n)))
		if err != nil {
			return nil, err
		}
		packed = append(packed, bytesOf(found, attrBody)...)
	}
	text, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("reading the view at page %d of the log: %w", head.snapshot, err)
	}
	v, err := restoreView(text)
	if err != nil {
		return nil, fmt.Errorf("reading the view at page %d of the log: %w", head.snapshot, err)
	}
	if v.page < head.page {
		return v, nil
	}
	// The last page may have left something in the tail.
	entries, err := l.readPage(ctx, v.page)
	if err != nil {
		return nil, err
	}
	for i := range entries {
		v.tail = append(v.tail, l.s.tailKey(&entries[i]))
	}
	return v, nil
}

// reached is the last page that this process has heard of. Events name it, so
// that their place in the log is looked for from there on.
type reached struct{ last atomic.Int64 }

func (r *reached) page() int64 { return r.last.Load() }

func (r *reached) raise(page int64) {
	for {
		now := r.last.Load()
		if page <= now || r.last.CompareAndSwap(now, page) {
			return
		}
	}
}
