package agent

import (
	"context"
	"fmt"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/runtime"
)

// Health tells whether another region would do better: whether this one holds
// its lease, whether its cluster answers, and what that says of itself. ctx
// bounds how long the cluster may take. A region that is full is degraded, and
// no other one would serve better what it has.
func (a *Agent) Health(ctx context.Context) api.Health {
	health := api.Health{Status: "ok", Checks: []api.HealthCheck{a.leaseCheck(), a.clusterCheck(ctx)}}
	if r, ok := a.Runtime.(runtime.Conditioned); ok {
		for _, c := range r.Conditions(ctx) {
			health.Checks = append(health.Checks, api.HealthCheck{Name: c.Name, Status: string(c.Status), Message: c.Message})
		}
	}
	for _, check := range health.Checks {
		if check.Status == failed || check.Status == degraded && health.Status == "ok" {
			health.Status = check.Status
		}
	}
	return health
}

const (
	degraded = string(runtime.StatusDegraded)
	failed   = string(runtime.StatusFailed)
)

func (a *Agent) leaseCheck() api.HealthCheck {
	a.mu.Lock()
	defer a.mu.Unlock()
	check := api.HealthCheck{Name: "agent", Status: "ok"}
	switch {
	case a.id == "":
		check.Status, check.Message = failed, "the agent has no session with the control plane"
	case !a.Clock.Now().Before(a.trustUntil):
		check.Status, check.Message = failed, "the control plane has not been reached for too long"
	}
	return check
}

func (a *Agent) clusterCheck(ctx context.Context) api.HealthCheck {
	if _, err := a.Runtime.Capacity(ctx); err != nil {
		return api.HealthCheck{Name: "cluster", Status: failed, Message: fmt.Sprintf("the region's cluster does not answer: %v", err)}
	}
	return api.HealthCheck{Name: "cluster", Status: "ok"}
}
