package placement

import (
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/capacity"
)

// profile is all that selectors, affinity and tolerations can see of a node.
// Nodes that look the same share one.
type profile struct {
	id           int
	architecture string
	labels       map[string]string
	taints       []capacity.Taint // those that keep pods off, sorted
	market       capacity.Type
	text         string // see canonical
}

// label is the value of a node label; the architecture counts as one.
func (p *profile) label(key string) (string, bool) {
	if value, ok := p.labels[key]; ok {
		return value, true
	}
	if (key == archLabel || key == betaArchLabel) && p.architecture != "" {
		return p.architecture, true
	}
	return "", false
}

// canonical is a text that orders profiles in one way only, whatever order
// they were met in.
func (p *profile) canonical() string {
	if p.text != "" {
		return p.text
	}
	var text strings.Builder
	text.WriteString(p.architecture)
	for _, key := range slices.Sorted(maps.Keys(p.labels)) {
		text.WriteString("\x00" + key + "\x01" + p.labels[key])
	}
	for _, taint := range p.taints {
		text.WriteString("\x00\x02" + taintText(taint))
	}
	p.text = text.String() + "\x00"
	return p.text
}

// profiles interns profiles. Labels are hashed without sorting them, since a
// fleet has thousands of nodes and almost always few profiles.
type profiles struct {
	seed   maphash.Seed
	byHash map[uint64][]*profile
	count  int
}

func newProfiles() profiles {
	return profiles{seed: maphash.MakeSeed(), byHash: map[uint64][]*profile{}}
}

func (ps *profiles) intern(node capacity.NodeShape) *profile {
	taints := barring(node.Taints)
	hash := maphash.String(ps.seed, node.Architecture)
	for key, value := range node.Labels {
		hash += maphash.String(ps.seed, key) * (2*maphash.String(ps.seed, value) + 1)
	}
	for _, taint := range taints {
		hash += 3 * maphash.Comparable(ps.seed, taint)
	}
	for _, p := range ps.byHash[hash] {
		if p.architecture == node.Architecture && maps.Equal(p.labels, node.Labels) && slices.Equal(p.taints, taints) {
			return p
		}
	}
	p := &profile{
		id: ps.count, architecture: node.Architecture, labels: node.Labels,
		taints: taints, market: capacity.TypeOf(node.Labels),
	}
	ps.count++
	ps.byHash[hash] = append(ps.byHash[hash], p)
	return p
}

// barring returns the taints that keep pods off a node, sorted.
// PreferNoSchedule is a wish only.
func barring(taints []capacity.Taint) []capacity.Taint {
	if len(taints) == 0 {
		return nil
	}
	kept := make([]capacity.Taint, 0, len(taints))
	for _, taint := range taints {
		if taint.Effect == "NoSchedule" || taint.Effect == "NoExecute" {
			kept = append(kept, taint)
		}
	}
	slices.SortFunc(kept, compareTaints)
	return kept
}
