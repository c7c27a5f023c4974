package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/store"
)

var (
	stInsertEndpoint  = statement(`INSERT INTO endpoints (name, version, record) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`)
	stUpdateEndpoint  = statement(`UPDATE endpoints SET version = ?, record = ? WHERE name = ? AND version = ?`)
	stEndpointVersion = statement(`SELECT version FROM endpoints WHERE name = ?`)
	stDropEndpoint    = statement(`DELETE FROM endpoints WHERE name = ? AND version = ?`)
	stDropPlan        = statement(`DELETE FROM endpoint_plans WHERE name = ?`)
	stPutPlan         = statement(`INSERT INTO endpoint_plans (name, uid, version, record) VALUES (?, ?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET uid = excluded.uid, version = excluded.version, record = excluded.record
		WHERE uid <> excluded.uid OR version = excluded.version - 1`)
	stPutObserved     = statement(`INSERT INTO endpoint_observed (region, name, record) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET record = excluded.record`)
	stDropObserved    = statement(`DELETE FROM endpoint_observed WHERE region = ? AND name = ?`)
	stDropAllObserved = statement(`DELETE FROM endpoint_observed WHERE region = ?`)
	stRaiseMark       = statement(`INSERT INTO endpoint_marks (region, mark) VALUES (?, 1) ON CONFLICT DO UPDATE SET mark = mark + 1`)

	stEndpoint  = statement(`SELECT record FROM endpoints WHERE name = ?`)
	stEndpoints = statement(`SELECT record FROM endpoints WHERE name > ? ORDER BY name LIMIT ?`)
	stPlan      = statement(`SELECT record FROM endpoint_plans WHERE name = ?`)
	stPlans     = statement(`SELECT record FROM endpoint_plans WHERE name > ? ORDER BY name LIMIT ?`)
	stObserved  = statement(`SELECT record FROM endpoint_observed WHERE region = ? ORDER BY name`)
	stMarks     = statement(`SELECT region, mark FROM endpoint_marks`)
)

// markWanted is the region of the mark of endpoints and plans.
const markWanted = ""

// PutEndpoint writes a record.
func (s *Store) PutEndpoint(ctx context.Context, e endpoint.Endpoint) error {
	record, err := json.Marshal(e)
	if err != nil {
		return wrap(err, "encoding endpoint %s", e.Name)
	}
	err = s.writer.do(ctx, func(t *tx) error {
		if err := t.putEndpoint(&e, string(record)); err != nil {
			return err
		}
		_, err := t.exec(stRaiseMark, markWanted)
		return err
	})
	return wrap(err, "writing endpoint %s", e.Name)
}

func (t *tx) putEndpoint(e *endpoint.Endpoint, record string) error {
	if e.Version == 1 {
		n, err := t.exec(stInsertEndpoint, e.Name, e.Version, record)
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: there is such an endpoint", store.ErrConflict)
		}
		return err
	}
	n, err := t.exec(stUpdateEndpoint, e.Version, record, e.Name, e.Version-1)
	if err == nil && n == 0 {
		err = t.missed(stEndpointVersion, e.Name)
	}
	return err
}

// DeleteEndpoint removes an endpoint with its plan.
func (s *Store) DeleteEndpoint(ctx context.Context, name string, version int64) error {
	err := s.writer.do(ctx, func(t *tx) error {
		n, err := t.exec(stDropEndpoint, name, version)
		if err == nil && n == 0 {
			err = t.missed(stEndpointVersion, name)
		}
		if err == nil {
			_, err = t.exec(stDropPlan, name)
		}
		if err == nil {
			_, err = t.exec(stRaiseMark, markWanted)
		}
		return err
	})
	return wrap(err, "deleting endpoint %s", name)
}

// Endpoint returns one endpoint.
func (s *Store) Endpoint(ctx context.Context, name string) (found endpoint.Endpoint, err error) {
	record, err := s.text(ctx, "endpoint "+name, stEndpoint, name)
	if err != nil {
		return endpoint.Endpoint{}, err
	}
	err = json.Unmarshal([]byte(record), &found)
	return found, wrap(err, "reading endpoint %s", name)
}

// Endpoints lists endpoints by name, after a name.
func (s *Store) Endpoints(ctx context.Context, after string, limit int) (all []endpoint.Endpoint, err error) {
	err = s.read(ctx, "endpoints", func(r *session) error {
		all, err = records[endpoint.Endpoint](r, stEndpoints, after, limit)
		return err
	})
	return all, err
}

// PutPlans writes each plan by itself.
func (s *Store) PutPlans(ctx context.Context, plans []endpoint.Plan) ([]error, error) {
	encoded := make([]string, len(plans))
	for i := range plans {
		record, err := json.Marshal(&plans[i])
		if err != nil {
			return nil, wrap(err, "encoding the plan of endpoint %s", plans[i].Name)
		}
		encoded[i] = string(record)
	}
	var errs []error
	err := s.writer.do(ctx, func(t *tx) error {
		results := make([]error, len(plans))
		for i := range plans {
			p := &plans[i]
			n, err := t.exec(stPutPlan, p.Name, p.UID, p.Version, encoded[i])
			if err != nil {
				return err
			}
			if n == 0 {
				results[i] = wrap(store.ErrConflict, "writing the plan of endpoint %s", p.Name)
			}
		}
		errs = results
		_, err := t.exec(stRaiseMark, markWanted)
		return err
	})
	if err != nil {
		return nil, wrap(err, "writing plans of endpoints")
	}
	return errs, nil
}

// EndpointPlan returns the plan of one endpoint.
func (s *Store) EndpointPlan(ctx context.Context, name string) (found endpoint.Plan, err error) {
	record, err := s.text(ctx, "the plan of endpoint "+name, stPlan, name)
	if err != nil {
		return endpoint.Plan{}, err
	}
	err = json.Unmarshal([]byte(record), &found)
	return found, wrap(err, "reading the plan of endpoint %s", name)
}

// EndpointPlans lists plans by name, after a name.
func (s *Store) EndpointPlans(ctx context.Context, after string, limit int) (all []endpoint.Plan, err error) {
	err = s.read(ctx, "plans of endpoints", func(r *session) error {
		all, err = records[endpoint.Plan](r, stPlans, after, limit)
		return err
	})
	return all, err
}

// PutObserved replaces what a region says of endpoints, if the guard holds.
func (s *Store) PutObserved(ctx context.Context, guard store.Guard, observed []endpoint.Observed, all bool) error {
	encoded := make([]string, len(observed))
	for i := range observed {
		record, err := json.Marshal(&observed[i])
		if err != nil {
			return wrap(err, "encoding what %s says of endpoint %s", guard.Region, observed[i].Name)
		}
		encoded[i] = string(record)
	}
	err := s.writer.do(ctx, func(t *tx) error {
		if err := t.check(&guard); err != nil {
			return err
		}
		if all {
			if _, err := t.exec(stDropAllObserved, guard.Region); err != nil {
				return err
			}
		}
		for i := range observed {
			if err := t.putObserved(guard.Region, &observed[i], encoded[i]); err != nil {
				return err
			}
		}
		_, err := t.exec(stRaiseMark, guard.Region)
		return err
	})
	return wrap(err, "writing what %s says of endpoints", guard.Region)
}

func (t *tx) putObserved(region string, o *endpoint.Observed, record string) (err error) {
	if o.Empty() {
		_, err = t.exec(stDropObserved, region, o.Name)
	} else {
		_, err = t.exec(stPutObserved, region, o.Name, record)
	}
	return err
}

// Observed lists what a region says.
func (s *Store) Observed(ctx context.Context, region string) (all []endpoint.Observed, err error) {
	err = s.read(ctx, "what "+region+" says of endpoints", func(r *session) error {
		all, err = records[endpoint.Observed](r, stObserved, region)
		return err
	})
	return all, err
}

// EndpointMarks tell what has to be read again.
func (s *Store) EndpointMarks(ctx context.Context) (store.EndpointMarks, error) {
	marks := store.EndpointMarks{Observed: map[string]int64{}}
	err := s.read(ctx, "the marks of endpoints", func(r *session) error {
		return r.each(stMarks, nil, func(scan func(...any) error) error {
			var region string
			var mark int64
			if err := scan(&region, &mark); err != nil {
				return err
			}
			if region == markWanted {
				marks.Wanted = mark
			} else {
				marks.Observed[region] = mark
			}
			return nil
		})
	})
	return marks, err
}
