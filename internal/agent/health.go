package agent

import (
	"context"
	"fmt"

	"github.com/gco-project/gco/api"
)

// Health tells whether another region would do better: whether this one holds
// its lease, and whether its cluster answers. ctx bounds how long the cluster
// may take.
func (a *Agent) Health(ctx context.Context) api.Health {
	health := api.Health{Status: "ok", Checks: []api.HealthCheck{a.leaseCheck(), a.clusterCheck(ctx)}}
	for _, check := range health.Checks {
		if check.Status == failed {
			health.Status = failed
		}
	}
	return health
}

const failed = "failed"

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
