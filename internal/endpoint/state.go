package endpoint

// State is what an endpoint adds up to.
type State string

// The states.
const (
	// StateStarting: no revision was ready yet.
	StateStarting State = "starting"
	// StateReady: all is as it should be.
	StateReady State = "ready"
	// StateUpdating: on its way to another revision, number or place.
	StateUpdating State = "updating"
	// StateDegraded: fewer replicas are ready than should be.
	StateDegraded State = "degraded"
	// StateIdle: scaled to zero.
	StateIdle State = "idle"
	// StateStopped: by its user.
	StateStopped State = "stopped"
	// StateDeleting: its replicas are going.
	StateDeleting State = "deleting"
)

// States lists all.
var States = []State{StateStarting, StateReady, StateUpdating, StateDegraded, StateIdle, StateStopped, StateDeleting}

// StateOf adds up an endpoint, its plan (nil before the first) and what the
// regions that are there say of it.
func StateOf(e *Endpoint, p *Plan, observed []Observed) State {
	ready, starting := 0, false
	for i := range observed {
		ready += observed[i].Ready(0)
		for _, r := range observed[i].Replicas {
			starting = starting || r.Phase == Starting || r.Phase == Draining
		}
	}
	switch {
	case e.Deleting:
		return StateDeleting
	case e.Stopped:
		return StateStopped
	case p == nil || p.UID != e.UID:
		return StateStarting
	case p.Good == 0 && p.Replicas > 0:
		return StateStarting
	case p.Trying != 0 || p.Edit != e.Version:
		return StateUpdating
	case p.Replicas == 0:
		return StateIdle
	case ready >= p.Replicas:
		return StateReady
	case starting:
		return StateUpdating
	default:
		return StateDegraded
	}
}
