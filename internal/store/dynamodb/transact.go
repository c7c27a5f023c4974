package dynamodb

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/internal/store"
)

// DynamoDB's own limits, and how many requests one call makes side by side.
const (
	maxActions = 100
	maxGet     = 100
	maxPut     = 25
	parallel   = 16
)

// unit is one atomic write: all of its actions, or none.
type unit struct {
	actions []types.TransactWriteItem
	// refused says what it means that the condition of an action did not
	// hold; found is what stood there instead, nil for nothing. It returns nil
	// where that is the unit itself, written by an attempt whose answer was
	// lost.
	refused func(action int, found item) error
}

// checks gives each transaction of a call its condition; nil is none.
type checks func(transaction int) *types.ConditionCheck

// transact writes units, several in one transaction, each by itself all the
// same: one that is refused leaves the others alone. What check says must hold
// for each; where it does not, a unit fails with store.ErrStaleSession. The
// error of a unit that DynamoDB did not take is one of store's.
func (s *Store) transact(ctx context.Context, check checks, units []unit) []error {
	errs := make([]error, len(units))
	ctx, cancel := committed(ctx)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(parallel)
	for begin, n := 0, 0; begin < len(units); n++ {
		end := begin + fit(units[begin:])
		batch := &batch{s: s, units: units[begin:end], errs: errs[begin:end]}
		if check != nil {
			batch.check = check(n)
		}
		group.Go(func() error { batch.write(ctx); return nil })
		begin = end
	}
	_ = group.Wait()
	s.log.wrote.raise(s.stamps.next("").ns())
	return errs
}

// maxBytes keeps a transaction under the limit of 4 MB, with room for all that
// is not a body.
const maxBytes = 3 << 20

// fit is how many of the units fit into one transaction: there may be so many
// actions and bytes in it, and no two on the same item. Only counters are
// shared.
func fit(units []unit) int {
	actions, bytes, counters := 0, 0, map[string]bool{}
	for n, u := range units {
		actions += len(u.actions)
		for _, a := range u.actions {
			if a.Put != nil {
				bytes += len(bytesOf(a.Put.Item, attrBody))
			}
		}
		if n > 0 && (actions >= maxActions || bytes > maxBytes) {
			return n
		}
		for _, a := range u.actions {
			if a.Update == nil {
				continue
			}
			counter := textOf(a.Update.Key, attrPK) + " " + textOf(a.Update.Key, attrSK)
			if counters[counter] {
				return n
			}
			counters[counter] = true
		}
	}
	return len(units)
}

// transactOne writes one unit.
func (s *Store) transactOne(ctx context.Context, u unit) error {
	return s.transact(ctx, nil, []unit{u})[0]
}

// batch is the units of one transaction.
type batch struct {
	s     *Store
	check *types.ConditionCheck
	units []unit
	errs  []error

	open []int // the units that are not decided yet
}

// write makes one transaction of the units, and another without those that
// were refused, until every one is decided.
func (b *batch) write(ctx context.Context) {
	for i := range b.units {
		b.open = append(b.open, i)
	}
	var pauses pauses
	// As long as the units are the same, so is the token: an attempt that is
	// repeated because its answer was lost is not made twice.
	token := uuid.NewString()
	for len(b.open) > 0 {
		_, err := b.s.client.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{
			TransactItems: b.actions(), ClientRequestToken: aws.String(token),
		}, once)
		if err == nil {
			return
		}
		cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
		if ok {
			before := len(b.open)
			again := b.decide(cancelled.CancellationReasons)
			if len(b.open) < before {
				token = uuid.NewString()
				continue
			}
			if again == nil {
				b.fail(fmt.Errorf("%w: %w", store.ErrUnavailable, err))
				return
			}
			err = again
		}
		if failure := afterWrite(err); !repeatable(failure, err) || !pauses.wait(ctx) {
			b.fail(failure)
			return
		}
	}
}

// repeatable tells of errors that another attempt with the same token may mend.
func repeatable(failure, err error) bool {
	return errors.Is(failure, store.ErrUnknown) || errors.Is(failure, store.ErrThrottled) || isConflict(code(err)) || errors.Is(err, errMet)
}

// errMet says that two transactions met on one item.
var errMet = errors.New("other writes to the same item are in progress")

func (b *batch) actions() []types.TransactWriteItem {
	var all []types.TransactWriteItem
	if b.check != nil {
		all = append(all, types.TransactWriteItem{ConditionCheck: b.check})
	}
	for _, i := range b.open {
		all = append(all, b.units[i].actions...)
	}
	return all
}

// decide reads the reasons of a cancelled transaction, one for each action.
// again is why it may be tried once more as it is.
func (b *batch) decide(reasons []types.CancellationReason) (again error) {
	if b.check != nil && len(reasons) > 0 {
		if aws.ToString(reasons[0].Code) == "ConditionalCheckFailed" {
			b.fail(store.ErrStaleSession)
			return nil
		}
		again = reasonAgain(reasons[0], again)
		reasons = reasons[1:]
	}
	var open []int
	for _, i := range b.open {
		u := b.units[i]
		refused := false
		for action := range u.actions {
			if action >= len(reasons) {
				break
			}
			if aws.ToString(reasons[action].Code) == "ConditionalCheckFailed" {
				b.errs[i], refused = u.refused(action, reasons[action].Item), true
				break
			}
			again = reasonAgain(reasons[action], again)
		}
		if !refused {
			open = append(open, i)
		}
		reasons = reasons[min(len(u.actions), len(reasons)):]
	}
	b.open = open
	return again
}

// reasonAgain keeps the reason that says most: to be throttled is worth
// telling, to meet others is not.
func reasonAgain(reason types.CancellationReason, before error) error {
	switch c := aws.ToString(reason.Code); {
	case isThrottle(c):
		return fmt.Errorf("%w: %s", store.ErrThrottled, aws.ToString(reason.Message))
	case isConflict(c) && before == nil:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, errMet)
	}
	return before
}

// fail decides every open unit.
func (b *batch) fail(err error) {
	for _, i := range b.open {
		b.errs[i] = err
	}
	b.open = nil
}

// The actions of a transaction. All return what stood there when the condition
// did not hold.

func (s *Store) putAction(table string, i item, condition string, values item) types.TransactWriteItem {
	put := &types.Put{TableName: s.name(table), Item: i, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	if condition != "" {
		put.ConditionExpression, put.ExpressionAttributeValues = &condition, values
	}
	return types.TransactWriteItem{Put: put}
}

func (s *Store) deleteAction(table string, k item, condition string, values item) types.TransactWriteItem {
	del := &types.Delete{TableName: s.name(table), Key: k, ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld}
	if condition != "" {
		del.ConditionExpression, del.ExpressionAttributeValues = &condition, values
	}
	return types.TransactWriteItem{Delete: del}
}

// update is a change of some attributes of an item.
type update struct {
	table string
	key   item
	// expression and condition use names as they are: none of the driver's
	// attributes is a reserved word, but for those in names.
	expression, condition string
	names                 map[string]string
	values                item
}

func (s *Store) updateAction(u update) types.TransactWriteItem {
	return types.TransactWriteItem{Update: &types.Update{
		TableName: s.name(u.table), Key: u.key, UpdateExpression: &u.expression, ConditionExpression: optional(u.condition),
		ExpressionAttributeNames: u.names, ExpressionAttributeValues: u.values,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// put writes one item if the condition holds. It returns what stood there where
// it does not.
func (s *Store) put(ctx context.Context, table string, i item, condition string, values item) (found item, ok bool, err error) {
	ctx, cancel := committed(ctx)
	defer cancel()
	var pauses pauses
	for {
		_, err := s.client.PutItem(ctx, &dynamodb.PutItemInput{
			TableName: s.name(table), Item: i, ConditionExpression: optional(condition), ExpressionAttributeValues: values,
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}, once)
		if err == nil {
			return nil, true, nil
		}
		if found, refused := refusedItem(err); refused {
			return found, false, nil
		}
		if failure := afterWrite(err); !repeatable(failure, err) || !pauses.wait(ctx) {
			return nil, false, failure
		}
	}
}
