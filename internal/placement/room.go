package placement

import "github.com/gco-project/gco/internal/capacity"

// Room is what one snapshot has left, for handing out several demands in turn.
// It belongs to one goroutine.
type Room struct {
	catalog *catalog
	space   *space
}

// NewRoom starts with all that is free in the snapshot, nodes that may still
// be added included.
func NewRoom(snapshot capacity.Snapshot) *Room {
	c := newCatalog()
	return &Room{catalog: c, space: newSpace(c, snapshot)}
}

// Take takes room for all pods of the demand, and tells whether there was any;
// if not, nothing is taken.
func (r *Room) Take(demand capacity.Demand) bool {
	return r.space.takeAll(r.catalog.groups(demand))
}

// Fits tells whether all pods of the demand find room in the snapshot at once.
func Fits(demand capacity.Demand, snapshot capacity.Snapshot) bool {
	return NewRoom(snapshot).Take(demand)
}

// Left is what the room has left, as a snapshot. Nodes that can't be told apart
// are joined, and come in the order in which pods would take them.
func (r *Room) Left() capacity.Snapshot {
	return capacity.Snapshot{Nodes: r.space.left(r.space.nodes), Provisionable: r.space.left(r.space.spare)}
}

func (s *space) left(list []shape) []capacity.NodeShape {
	var out []capacity.NodeShape
	for _, shape := range list {
		kind := s.kinds[shape.kind]
		out = append(out, capacity.NodeShape{
			Count: int(shape.count), Free: kind.resources(shape.free), Total: kind.resources(kind.total),
			Architecture: kind.profile.architecture, Labels: kind.profile.labels, Taints: kind.profile.taints,
		})
	}
	return out
}

// resources is the opposite of amounts.
func (l *layout) resources(amounts []int64) capacity.Resources {
	out := make(capacity.Resources, len(amounts))
	for i, name := range l.names {
		out[name] = amounts[i]
	}
	return out
}
