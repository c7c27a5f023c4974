package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/job"
)

var endpointWeightShape = shapeOf[api.EndpointWeight]()

func (c *call) weighCanary() error {
	var request api.EndpointWeight
	if err := c.readJSON(endpointWeightShape, &request); err != nil {
		return err
	}
	if request.Weight < 1 || request.Weight > 99 {
		return invalid([]job.Fault{{
			Field: "weight", Message: fmt.Sprintf("%d is outside 1 to 99; promote the canary, or roll it back, for all or nothing", request.Weight),
		}})
	}
	return c.edit(http.StatusOK, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.SetWeight(request.Weight, c.who.name, "", now)
	})
}

func (c *call) promoteCanary() error {
	if err := c.noBody(); err != nil {
		return err
	}
	return c.edit(http.StatusOK, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		return e.Promote(c.who.name, "", now)
	})
}

func trialsOnWire(trials []endpoint.Trial) []api.EndpointTrial {
	var out []api.EndpointTrial
	for _, t := range trials {
		out = append(out, api.EndpointTrial{
			At: t.At.UTC(), Action: string(t.Action), Reason: t.Reason, Weight: t.Evidence.Weight, Seconds: t.Evidence.Seconds,
			Serving: api.EndpointNumbers(t.Evidence.Serving), Canary: api.EndpointNumbers(t.Evidence.Canary),
		})
	}
	return out
}
