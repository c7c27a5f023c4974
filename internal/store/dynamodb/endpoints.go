package dynamodb

import (
	"cmp"
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/store"
)

// Table inference-endpoints has what is wanted of each endpoint. Its key can't
// list them: table state has the list, beside the plans and what each region
// says.
const (
	pkEndpoints = "endpoints"
	pkPlans     = "endpoint-plans"
	// pkEndpointMarks has a number for each region, and one under skWanted for
	// endpoints and plans.
	pkEndpointMarks = "endpoint-marks"
	skWanted        = " wanted"
	// kindObserved starts the key of what one region says.
	kindObserved = "endpoint-observed"

	// attrEdit is the version of the record.
	attrEdit = "edit"
	attrUID  = "uid"
	attrMark = "mark"
)

// perUnit is how much of what a region says is written at once.
const perUnit = 50

func endpointKey(name string) item { return item{attrEndpoint: text(name)} }

// markAction raises a mark.
func (s *Store) markAction(sk string) types.TransactWriteItem {
	return s.updateAction(update{
		table: TableState, key: at(pkEndpointMarks, sk), expression: "ADD mark :one", values: item{":one": number(1)},
	})
}

// followUnless is what it means that a record is not the one that was to be
// followed: this write itself, another one, or nothing.
func followUnless(own stamp) func(int, item) error {
	return func(_ int, found item) error {
		switch {
		case len(found) == 0:
			return store.ErrNotFound
		case textOf(found, attrStamp) == string(own):
			return nil
		default:
			return store.ErrConflict
		}
	}
}

// PutEndpoint writes a record.
func (s *Store) PutEndpoint(ctx context.Context, e endpoint.Endpoint) error {
	body, err := packJSON(e)
	if err != nil {
		return wrap(err, "encoding endpoint %s", e.Name)
	}
	own := s.stamps.next("")
	record := with(endpointKey(e.Name), item{attrBody: body, attrEdit: number(e.Version), attrStamp: text(string(own))})
	condition, values := "attribute_not_exists(endpoint_name)", item(nil)
	if e.Version != 1 {
		condition, values = "edit = :before", item{":before": number(e.Version - 1)}
	}
	err = s.transactOne(ctx, unit{
		actions: []types.TransactWriteItem{
			s.putAction(TableEndpoints, record, condition, values),
			s.putAction(TableState, with(at(pkEndpoints, e.Name), item{attrBody: body}), "", nil),
			s.markAction(skWanted),
		},
		refused: followUnless(own),
	})
	return wrap(err, "writing endpoint %s", e.Name)
}

// DeleteEndpoint removes an endpoint with its plan.
func (s *Store) DeleteEndpoint(ctx context.Context, name string, version int64) error {
	err := s.transactOne(ctx, unit{
		actions: []types.TransactWriteItem{
			s.deleteAction(TableEndpoints, endpointKey(name), "edit = :before", item{":before": number(version)}),
			s.deleteAction(TableState, at(pkEndpoints, name), "", nil),
			s.deleteAction(TableState, at(pkPlans, name), "", nil),
			s.markAction(skWanted),
		},
		refused: followUnless("none"),
	})
	return wrap(err, "deleting endpoint %s", name)
}

// Endpoint returns one endpoint.
func (s *Store) Endpoint(ctx context.Context, name string) (e endpoint.Endpoint, err error) {
	found, err := s.get(ctx, TableEndpoints, endpointKey(name))
	if err == nil {
		err = unpackJSON(found, attrBody, &e)
	}
	return e, wrap(err, "reading endpoint %s", name)
}

// Endpoints lists endpoints by name, after a name.
func (s *Store) Endpoints(ctx context.Context, after string, limit int) ([]endpoint.Endpoint, error) {
	all, err := bodies[endpoint.Endpoint](ctx, s, pkEndpoints, after, limit)
	return all, wrap(err, "reading endpoints")
}

// bodies reads the records of a partition, after a sort key; without a limit
// all of them.
func bodies[T any](ctx context.Context, s *Store, pk, after string, limit int) ([]T, error) {
	from := ""
	if after != "" {
		from = after + "\x01"
	}
	items, err := s.all(ctx, query{table: TableState, pk: pk, from: from, limit: limit})
	if err != nil {
		return nil, err
	}
	all := make([]T, len(items))
	for n, i := range items {
		if err := unpackJSON(i, attrBody, &all[n]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// PutPlans writes each plan by itself.
func (s *Store) PutPlans(ctx context.Context, plans []endpoint.Plan) ([]error, error) {
	units := make([]unit, len(plans))
	for i := range plans {
		p := &plans[i]
		body, err := packJSON(p)
		if err != nil {
			return nil, wrap(err, "encoding the plan of endpoint %s", p.Name)
		}
		own := s.stamps.next("")
		record := with(at(pkPlans, p.Name), item{
			attrBody: body, attrUID: text(p.UID), attrEdit: number(p.Version), attrStamp: text(string(own)),
		})
		units[i] = unit{
			actions: []types.TransactWriteItem{s.putAction(TableState, record,
				"attribute_not_exists(pk) OR uid <> :uid OR edit = :before", item{":uid": text(p.UID), ":before": number(p.Version - 1)})},
			refused: changedUnless(own),
		}
	}
	errs := s.transact(ctx, nil, units)
	for i := range errs {
		errs[i] = wrap(errs[i], "writing the plan of endpoint %s", plans[i].Name)
	}
	return errs, wrap(s.transactOne(ctx, unit{actions: []types.TransactWriteItem{s.markAction(skWanted)}}), "marking the plans of endpoints")
}

// EndpointPlan returns the plan of one endpoint.
func (s *Store) EndpointPlan(ctx context.Context, name string) (p endpoint.Plan, err error) {
	found, err := s.get(ctx, TableState, at(pkPlans, name))
	if err == nil {
		err = unpackJSON(found, attrBody, &p)
	}
	return p, wrap(err, "reading the plan of endpoint %s", name)
}

// EndpointPlans lists plans by name, after a name.
func (s *Store) EndpointPlans(ctx context.Context, after string, limit int) ([]endpoint.Plan, error) {
	all, err := bodies[endpoint.Plan](ctx, s, pkPlans, after, limit)
	return all, wrap(err, "reading plans of endpoints")
}

// PutObserved replaces what a region says of endpoints, if the guard holds.
func (s *Store) PutObserved(ctx context.Context, guard store.Guard, observed []endpoint.Observed, all bool) error {
	return wrap(s.putObserved(ctx, guard, observed, all), "writing what %s says of endpoints", guard.Region)
}

func (s *Store) putObserved(ctx context.Context, guard store.Guard, observed []endpoint.Observed, all bool) error {
	pk := key(kindObserved, guard.Region)
	var actions []types.TransactWriteItem
	said := map[string]bool{}
	for i := range observed {
		o := &observed[i]
		said[o.Name] = true
		if o.Empty() {
			actions = append(actions, s.deleteAction(TableState, at(pk, o.Name), "", nil))
			continue
		}
		body, err := packJSON(o)
		if err != nil {
			return err
		}
		actions = append(actions, s.putAction(TableState, with(at(pk, o.Name), item{attrBody: body}), "", nil))
	}
	if all {
		items, err := s.all(ctx, query{table: TableState, pk: pk})
		if err != nil {
			return err
		}
		for _, i := range items {
			if name := textOf(i, attrSK); !said[name] {
				actions = append(actions, s.deleteAction(TableState, at(pk, name), "", nil))
			}
		}
	}
	var units []unit
	for part := range slices.Chunk(actions, perUnit) {
		units = append(units, unit{actions: append(slices.Clone(part), s.markAction(guard.Region))})
	}
	if len(units) == 0 {
		units = []unit{{actions: []types.TransactWriteItem{s.markAction(guard.Region)}}}
	}
	check := func(n int) *types.ConditionCheck { return s.guardCheck(&guard, n%s.shards.Guard) }
	return cmp.Or(s.transact(ctx, check, units)...)
}

// Observed lists what a region says.
func (s *Store) Observed(ctx context.Context, region string) ([]endpoint.Observed, error) {
	all, err := bodies[endpoint.Observed](ctx, s, key(kindObserved, region), "", 0)
	return all, wrap(err, "reading what %s says of endpoints", region)
}

// EndpointMarks tell what has to be read again.
func (s *Store) EndpointMarks(ctx context.Context) (store.EndpointMarks, error) {
	marks := store.EndpointMarks{Observed: map[string]int64{}}
	items, err := s.all(ctx, query{table: TableState, pk: pkEndpointMarks})
	for _, i := range items {
		if region := textOf(i, attrSK); region == skWanted {
			marks.Wanted = numberOf(i, attrMark)
		} else {
			marks.Observed[region] = numberOf(i, attrMark)
		}
	}
	return marks, wrap(err, "reading the marks of endpoints")
}
