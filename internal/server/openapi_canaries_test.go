package server

import (
	"net/http"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/canary"
	"github.com/gco-project/gco/internal/endpoint"
)

// canaries weighs and promotes one, whose requests were measured and judged.
func (sc *scenario) canaries() {
	ctx := sc.t.Context()
	trial := richEndpoint("rich")
	trial.Image = "registry.example/echo:3"
	started, err := sc.admin.UpdateEndpoint(ctx, trial, client.AnyVersion)
	sc.must(err)
	sc.measured(started.Canary.Revision)
	_, err = sc.admin.WeighCanary(ctx, "rich", 100, "")
	sc.mustFail(http.StatusUnprocessableEntity, err)
	_, err = sc.admin.WeighCanary(ctx, "rich", 12, client.IfVersion(1))
	sc.mustFail(http.StatusPreconditionFailed, err)
	weighed, err := sc.admin.WeighCanary(ctx, "rich", 12, client.AnyVersion)
	sc.must(err)
	if weighed.Canary == nil || weighed.Canary.Weight != 12 {
		sc.t.Errorf("the canary is %+v", weighed.Canary)
	}
	response, text := sc.raw(post, "/api/v1/endpoints/rich/promote", nil, "a body")
	sc.want(http.StatusBadRequest, response, text)
	_, err = sc.admin.PromoteCanary(ctx, "rich", client.IfVersion(1))
	sc.mustFail(http.StatusPreconditionFailed, err)
	sc.down.Store(true)
	_, err = sc.admin.WeighCanary(ctx, "rich", 13, "")
	sc.mustFail(http.StatusServiceUnavailable, err)
	_, err = sc.admin.PromoteCanary(ctx, "rich", "")
	sc.mustFail(http.StatusServiceUnavailable, err)
	sc.down.Store(false)
	promoted, err := sc.admin.PromoteCanary(ctx, "rich", client.AnyVersion)
	sc.must(err)
	if promoted.Canary != nil || promoted.Revision != weighed.Canary.Revision {
		sc.t.Errorf("revision %d serves, and %+v is on trial", promoted.Revision, promoted.Canary)
	}
	_, err = sc.admin.PromoteCanary(ctx, "rich", "")
	sc.mustFail(http.StatusConflict, err)
	_, err = sc.admin.WeighCanary(ctx, "rich", 12, "")
	sc.mustFail(http.StatusConflict, err)
	_, err = sc.admin.PromoteCanary(ctx, "none", "")
	sc.mustFail(http.StatusNotFound, err)
	_, err = sc.admin.WeighCanary(ctx, "none", 12, "")
	sc.mustFail(http.StatusNotFound, err)
	history, err := sc.admin.EndpointRevisions(ctx, "rich")
	sc.must(err)
	if len(history.Items) == 0 || len(history.Items[0].Trials) != 1 || history.Items[0].Trials[0].Canary.Requests != 7 {
		sc.t.Errorf("the trials are not in %+v", history.Items)
	}
}

// measured has the region say what its gateway measured, and keeps a verdict.
func (sc *scenario) measured(revision int) {
	target := sc.serve(sc.agent, "rich", "ready", 0)
	if !target.Measure {
		sc.t.Error("nobody asks for what is measured")
	}
	now := time.Now().UTC()
	sc.agent.sync(api.SyncRequest{Endpoints: &api.EndpointReport{
		Held: map[string]string{"rich": target.Tag}, Observed: []api.EndpointObservation{{
			Name: "rich", UID: target.UID, Target: target.Tag, Gateway: "127.0.0.1:1",
			Load: &api.EndpointLoad{
				Began: now, At: now, Open: 1, Waiting: 1, Busy: 0.5,
				Revisions: map[int]api.EndpointSample{revision: {Requests: 7, Errors: 1, Latencies: map[int]int64{3: 7}}},
			},
		}},
	}})
	numbers := canary.Numbers{Requests: 7, Errors: 1, ErrorRate: 0.14, Latencies: map[string]float64{"p50": 0.01}}
	_, err := sc.serving.Edit(sc.t.Context(), "rich", 0, func(e *endpoint.Endpoint, now time.Time) (endpoint.Endpoint, error) {
		next, err := e.SetWeight(10, "gco", "it does as well", now)
		next.Note(revision, canary.Verdict{
			Action: canary.Advance, Weight: 10, Reason: "it does as well",
			Evidence: canary.Evidence{Weight: 5, Seconds: 60, Serving: numbers, Canary: numbers},
		}, now)
		return next, err
	})
	sc.must(err)
}
