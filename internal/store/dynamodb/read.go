package dynamodb

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/store"
)

// get reads one item as it is now; store.ErrNotFound where there is none.
func (s *Store) get(ctx context.Context, table string, k item) (item, error) {
	if !isKey(k) {
		return nil, store.ErrNotFound
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	var pauses pauses
	for {
		out, err := s.client.GetItem(ctx, &dynamodb.GetItemInput{TableName: s.name(table), Key: k, ConsistentRead: aws.Bool(true)})
		switch {
		case err == nil && (len(out.Item) == 0 || s.past(out.Item)):
			return nil, store.ErrNotFound
		case err == nil:
			return out.Item, nil
		case !isTransient(err) || !pauses.wait(ctx):
			return nil, notWritten(err)
		}
	}
}

// past tells of an item whose end has come: DynamoDB removes it when it finds
// the time.
func (s *Store) past(i item) bool {
	end := numberOf(i, attrTTL)
	return end != 0 && end <= s.now().Unix()
}

// getAll reads those items that exist, as they are now, in no order.
func (s *Store) getAll(ctx context.Context, table string, keys []item) ([]item, error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	keys = slices.DeleteFunc(slices.Clone(keys), func(k item) bool { return !isKey(k) })
	pages := slices.Collect(slices.Chunk(keys, maxGet))
	found := make([][]item, len(pages))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for n, page := range pages {
		group.Go(func() (err error) {
			found[n], err = s.getPage(ctx, table, page)
			return err
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(slices.Concat(found...), s.past), err
}

func (s *Store) getPage(ctx context.Context, table string, keys []item) ([]item, error) {
	var all []item
	var pauses pauses
	left := map[string]types.KeysAndAttributes{*s.name(table): {Keys: keys, ConsistentRead: aws.Bool(true)}}
	for {
		out, err := s.client.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{RequestItems: left})
		if err == nil {
			all = append(all, out.Responses[*s.name(table)]...)
			if left = out.UnprocessedKeys; len(left) == 0 {
				return all, nil
			}
			err = store.ErrThrottled
		} else if !isTransient(err) {
			return nil, notWritten(err)
		}
		if !pauses.wait(ctx) {
			return nil, notWritten(err)
		}
	}
}

// remove deletes items without a condition.
func (s *Store) remove(ctx context.Context, table string, keys []item) error {
	ctx, cancel := committed(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for page := range slices.Chunk(keys, maxPut) {
		group.Go(func() error { return s.removePage(ctx, table, page) })
	}
	return group.Wait()
}

func (s *Store) removePage(ctx context.Context, table string, keys []item) error {
	var writes []types.WriteRequest
	for _, k := range keys {
		writes = append(writes, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: k}})
	}
	left := map[string][]types.WriteRequest{*s.name(table): writes}
	var pauses pauses
	for {
		out, err := s.client.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left}, once)
		if err == nil {
			if left = out.UnprocessedItems; len(left) == 0 {
				return nil
			}
			err = store.ErrThrottled
		} else if failure := afterWrite(err); !repeatable(failure, err) {
			return failure
		}
		if !pauses.wait(ctx) {
			return afterWrite(err)
		}
	}
}

// query selects the items of one partition in the order of their sort keys, all
// bounds inclusive.
type query struct {
	table string
	index string
	// partition and sort name the key attributes; empty is pk and sk.
	partition, sort string
	pk              string
	// from and to bound the sort key; empty is unbounded.
	from, to string
	// newest turns the order around.
	newest bool
	limit  int
	// count asks for the number of items only.
	count bool
	// eventual does without what was written in the last moment, at half the
	// price.
	eventual bool
}

func (q query) input(s *Store) *dynamodb.QueryInput {
	partition, sort := attrPK, attrSK
	if q.partition != "" {
		partition, sort = q.partition, q.sort
	}
	names := map[string]string{"#p": partition}
	values := item{":p": text(q.pk)}
	condition := "#p = :p"
	if q.from != "" || q.to != "" {
		names["#s"] = sort
	}
	switch {
	case q.from != "" && q.to != "":
		condition += " AND #s BETWEEN :from AND :to"
	case q.from != "":
		condition += " AND #s >= :from"
	case q.to != "":
		condition += " AND #s <= :to"
	}
	for name, bound := range map[string]string{":from": q.from, ":to": q.to} {
		if bound != "" {
			// No key is so long, so the rest of a bound decides nothing.
			values[name] = text(bound[:min(len(bound), maxKey)])
		}
	}
	in := &dynamodb.QueryInput{
		TableName: s.name(q.table), KeyConditionExpression: &condition, ExpressionAttributeNames: names, ExpressionAttributeValues: values,
		ScanIndexForward: aws.Bool(!q.newest), IndexName: optional(q.index),
		// An index can't be read consistently.
		ConsistentRead: aws.Bool(q.index == "" && !q.eventual),
	}
	if q.limit > 0 {
		in.Limit = aws.Int32(int32(min(q.limit, 1_000_000)))
	}
	if q.count {
		in.Select = types.SelectCount
	}
	return in
}

// page reads one page of a query after a key; the key to go on from is nil at
// the end.
func (s *Store) page(ctx context.Context, q query, after item) (items []item, counted int, next item, err error) {
	ctx, cancel := bounded(ctx)
	defer cancel()
	if q.pk == "" || len(q.pk) > maxKey {
		return nil, 0, nil, nil
	}
	in := q.input(s)
	in.ExclusiveStartKey = after
	var pauses pauses
	for {
		out, err := s.client.Query(ctx, in)
		if err == nil {
			return slices.DeleteFunc(out.Items, s.past), int(out.Count), out.LastEvaluatedKey, nil
		}
		if !isTransient(err) || !pauses.wait(ctx) {
			return nil, 0, nil, notWritten(err)
		}
	}
}

// all reads a query to its end, or to its limit.
func (s *Store) all(ctx context.Context, q query) ([]item, error) {
	var all []item
	var after item
	for {
		items, _, next, err := s.page(ctx, q, after)
		all = append(all, items...)
		if err != nil || next == nil || q.limit > 0 && len(all) >= q.limit {
			if q.limit > 0 {
				all = all[:min(len(all), q.limit)]
			}
			return all, err
		}
		after = next
	}
}

// each runs f for every number below n, side by side.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range n {
		group.Go(func() error { return f(ctx, i) })
	}
	return group.Wait()
}

// merged reads the first items of several partitions in the common order of
// their sort keys, as many as the query's limit; 0 is all.
func (s *Store) merged(ctx context.Context, q query, partitions []string) ([]item, error) {
	sort := attrSK
	if q.sort != "" {
		sort = q.sort
	}
	found := make([][]item, len(partitions))
	err := each(ctx, len(partitions), func(ctx context.Context, i int) (err error) {
		one := q
		one.pk = partitions[i]
		found[i], err = s.all(ctx, one)
		return err
	})
	all := slices.Concat(found...)
	slices.SortStableFunc(all, func(a, b item) int {
		if q.newest {
			a, b = b, a
		}
		return compareText(a, b, sort)
	})
	if q.limit > 0 {
		all = all[:min(len(all), q.limit)]
	}
	return all, err
}

func compareText(a, b item, name string) int {
	x, y := textOf(a, name), textOf(b, name)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// with returns an item with more attributes.
func with(i item, more item) item {
	out := maps.Clone(i)
	maps.Copy(out, more)
	return out
}
