package store

import (
	"context"

	"github.com/gco-project/gco/internal/endpoint"
)

// EndpointMarks tell whoever keeps records of endpoints in memory when to read
// them again. A number that has not changed since before a read says that
// nothing has been written since.
type EndpointMarks struct {
	// Wanted changes with every write of an endpoint or of a plan.
	Wanted int64
	// Observed changes with every write of what a region says, by region.
	Observed map[string]int64
}

// Endpoints is the record of every endpoint: what is wanted, what was decided
// and what was observed, each by its own writer. Names are global.
type Endpoints interface {
	// PutEndpoint writes a record. Version 1 must be new, any other must follow
	// the stored one; else ErrConflict, or ErrNotFound where there is none.
	PutEndpoint(ctx context.Context, e endpoint.Endpoint) error
	// DeleteEndpoint removes record and plan if the version is stored, else
	// ErrConflict; ErrNotFound.
	DeleteEndpoint(ctx context.Context, name string, version int64) error
	Endpoint(ctx context.Context, name string) (endpoint.Endpoint, error)
	// Endpoints lists them by name, after a name. Fewer than limit are the end.
	Endpoints(ctx context.Context, after string, limit int) ([]endpoint.Endpoint, error)

	// PutPlans writes each plan by itself, if its version is 1 or follows the
	// stored one; one of another UID is replaced. The slice has an error per
	// plan: nil or ErrConflict. The second error means that nothing was written.
	PutPlans(ctx context.Context, plans []endpoint.Plan) ([]error, error)
	// EndpointPlan returns the plan of an endpoint; ErrNotFound before the
	// first.
	EndpointPlan(ctx context.Context, name string) (endpoint.Plan, error)
	// EndpointPlans lists them by name, after a name. Fewer than limit are the
	// end.
	EndpointPlans(ctx context.Context, after string, limit int) ([]endpoint.Plan, error)

	// PutObserved replaces what the guard's region says of some endpoints;
	// nothing is kept of one that is Empty. With all set, it
	// replaces what the region says of every endpoint. ErrStaleSession; a driver
	// that needs several writes may find in the middle that the guard holds no
	// more.
	PutObserved(ctx context.Context, guard Guard, observed []endpoint.Observed, all bool) error
	// Observed lists what a region says, by the name of the endpoint.
	Observed(ctx context.Context, region string) ([]endpoint.Observed, error)

	EndpointMarks(ctx context.Context) (EndpointMarks, error)
}
