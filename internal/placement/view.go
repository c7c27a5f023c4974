package placement

import "slices"

// view is what one pod sees of a space.
type view struct {
	made bool
	seen int // changes of the space that are accounted for
	// How many such pods fit: now, on nodes that exist and on nodes that may
	// be added; and if all of them were empty.
	now, nowSpare     int64
	empty, emptySpare int64
	// hopeless says why not even one fits into the empty region.
	hopeless reason
	// price of one such pod for an hour; priced says whether it is known.
	price  float64
	priced answer
}

// view returns what the pod sees now. It is measured once and then follows the
// space's changes, so that asking again costs next to nothing.
func (s *space) view(p *pod) *view {
	if s.generation != s.catalog.generation {
		s.generation, s.views = s.catalog.generation, nil
	}
	for len(s.views) <= p.id {
		s.views = append(s.views, view{})
	}
	v := &s.views[p.id]
	end := s.logStart + len(s.log)
	switch missed := end - v.seen; {
	case !v.made:
		s.measureEmpty(p, v)
		s.measure(p, v)
	case missed == 0:
	case v.seen < s.logStart || missed > len(s.nodes)+len(s.spare):
		s.measure(p, v)
	default:
		for _, c := range s.log[v.seen-s.logStart:] {
			s.follow(p, v, c)
		}
	}
	v.made, v.seen = true, end
	return v
}

func (s *space) measureEmpty(p *pod, v *view) {
	for i := range s.kinds {
		k := &s.kinds[i]
		count := s.perNode(p, i, k.total)
		v.empty += k.nodes * count
		v.emptySpare += k.spare * count
	}
	if v.empty+v.emptySpare == 0 {
		v.hopeless = s.hopeless(p)
	}
}

// hopeless says why none of the nodes takes such a pod even when it is empty.
func (s *space) hopeless(p *pod) reason {
	if len(s.kinds) == 0 {
		return noNodes
	}
	for _, need := range p.needs {
		if !slices.ContainsFunc(s.kinds, func(k kind) bool { return slices.Contains(k.names, need.name) }) {
			return unknownResource
		}
	}
	worst := noMatchingNode
	for _, k := range s.kinds {
		switch {
		case mismatch(p.spec, k.profile) != "":
		case p.offMarket(k.profile):
			worst = capacityTypeNotOffered
		default:
			return neverFits
		}
	}
	return worst
}

func (s *space) measure(p *pod, v *view) {
	v.now, v.nowSpare = s.count(p, s.nodes), s.count(p, s.spare)
}

// count is how many such pods fit into the shapes.
func (s *space) count(p *pod, list []shape) int64 {
	total, last, at := int64(0), -1, []int(nil)
	for i := range list {
		if list[i].kind != last {
			last = list[i].kind
			at = s.reach(p, last)
		}
		if at != nil {
			total += list[i].count * p.perNode(s.kinds[last].layout, at, list[i].free)
		}
	}
	return total
}

func (s *space) follow(p *pod, v *view, c change) {
	delta := s.perNode(p, c.kind, c.from)
	if c.to != nil && delta > 0 {
		delta -= s.perNode(p, c.kind, c.to)
	}
	if c.spare {
		v.nowSpare -= delta * c.nodes
	} else {
		v.now -= delta * c.nodes
	}
}

// perNode is how many such pods a node of the kind takes with this much free.
func (s *space) perNode(p *pod, kind int, free []int64) int64 {
	at := s.reach(p, kind)
	if at == nil {
		return 0
	}
	return p.perNode(s.kinds[kind].layout, at, free)
}

// reach is where the pod's needs stand in the amounts of a kind; nil if the
// kind lacks one of them or does not admit the pod.
func (s *space) reach(p *pod, kind int) []int {
	k := &s.kinds[kind]
	if at := p.positions(k.layout); at != nil && p.admitted(k.profile) {
		return at
	}
	return nil
}

// record remembers a change for the views.
func (s *space) record(c change) {
	if len(s.log) == maxLog {
		// Not cut to length 0: a mark may still hold the old one.
		s.logStart, s.log = s.logStart+maxLog, nil
	}
	s.log = append(s.log, c)
}
