package placement

import "slices"

// fit says where a demand finds room.
type fit byte

const (
	fitsNot         fit = iota
	fitsProvisioned     // only with nodes that have to be added
	fitsFree            // on nodes that exist
)

// fit tells whether all pods of the groups find room at once.
func (s *space) fit(groups []group) fit {
	worst := fitsFree
	for _, g := range groups {
		v := s.view(g.pod)
		switch {
		case v.now >= g.count:
		case v.now+v.nowSpare >= g.count:
			worst = fitsProvisioned
		default:
			return fitsNot
		}
	}
	if len(groups) < 2 {
		return worst
	}
	// Each group fits by itself; whether they do together, only packing tells.
	before := s.mark()
	found := s.packAll(groups)
	s.reset(before)
	return found
}

// takeAll takes room for all pods of the groups, or for none.
func (s *space) takeAll(groups []group) bool {
	for _, g := range groups {
		if v := s.view(g.pod); v.now+v.nowSpare < g.count {
			return false
		}
	}
	if len(groups) < 2 {
		s.takeSome(groups)
		return true
	}
	before := s.mark()
	if s.packAll(groups) == fitsNot {
		s.reset(before)
		return false
	}
	return true
}

// takeSome takes room for as many pods as find any.
func (s *space) takeSome(groups []group) {
	for _, g := range groups {
		left := s.take(g.pod, g.count, false)
		s.take(g.pod, left, true)
	}
}

func (s *space) packAll(groups []group) fit {
	found := fitsFree
	for _, g := range groups {
		left := s.take(g.pod, g.count, false)
		if left > 0 {
			found = fitsProvisioned
			left = s.take(g.pod, left, true)
		}
		if left > 0 {
			return fitsNot
		}
	}
	return found
}

// mark is a state of a space to go back to.
type mark struct {
	nodes, spare []shape
	log          []change
	logStart     int
}

func (s *space) mark() mark {
	m := mark{s.nodes, s.spare, s.log, s.logStart}
	// What follows changes the lists in place, so it gets copies.
	s.nodes, s.spare = slices.Clone(s.nodes), slices.Clone(s.spare)
	return m
}

func (s *space) reset(m mark) {
	s.nodes, s.spare, s.log, s.logStart = m.nodes, m.spare, m.log, m.logStart
}

// take puts up to count pods on nodes that exist, or on those that may be
// added, tightest first and as many as fit on each, and returns how many are
// left.
func (s *space) take(p *pod, count int64, spare bool) (left int64) {
	list := &s.nodes
	if spare {
		list = &s.spare
	}
	var filled []shape
	for i := range *list {
		if count == 0 {
			break
		}
		from := &(*list)[i]
		per := s.perNode(p, from.kind, from.free)
		if per == 0 {
			continue
		}
		full := min(from.count, count/per)
		filled = s.fill(filled, p, from, full, per, spare)
		count -= full * per
		if count > 0 && count < per && from.count > 0 {
			filled = s.fill(filled, p, from, 1, count, spare)
			count = 0
		}
	}
	if len(filled) > 0 {
		*list = moved(*list, filled)
	}
	return count
}

// fill puts per pods on each of some nodes of a shape, which leave it.
func (s *space) fill(filled []shape, p *pod, from *shape, nodes, per int64, spare bool) []shape {
	if nodes == 0 {
		return filled
	}
	to := p.without(s.kinds[from.kind].layout, from.free, per)
	s.record(change{from.kind, spare, nodes, from.free, to})
	from.count -= nodes
	return append(filled, s.shape(from.kind, nodes, to))
}

// moved drops the shapes that became empty and adds those that came to be.
func moved(list, added []shape) []shape {
	list = slices.DeleteFunc(list, func(s shape) bool { return s.count == 0 })
	// Sorting pays only for many at once.
	if len(added) > 16 {
		return sortShapes(append(list, added...))
	}
	for _, s := range added {
		list = insert(list, s)
	}
	return list
}
