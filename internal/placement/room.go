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
