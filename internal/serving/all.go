package serving

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Mark names what a look at all endpoints found. The same mark says that
// nothing has changed since.
type Mark struct {
	seen *seen
	// up are the regions that are there.
	up string
}

// All tells how every endpoint stands, by name. Where nothing has changed since
// a mark, it returns that one and no standings.
func (s *Serving) All(ctx context.Context, since Mark) ([]Standing, Mark, error) {
	seen, err := s.view.refresh(ctx)
	if err != nil {
		return nil, since, err
	}
	mark := Mark{seen: seen}
	if len(seen.endpoints) == 0 {
		return nil, mark, nil
	}
	regions, err := s.Store.Regions(ctx)
	if err != nil {
		return nil, since, fmt.Errorf("reading the regions: %w", err)
	}
	var up []string
	for _, at := range standingsOf(regions, s.Clock.Now()) {
		if at.up {
			up = append(up, at.name)
		}
	}
	if mark.up = strings.Join(up, " "); mark == since {
		return nil, mark, nil
	}
	all := make([]Standing, 0, len(seen.endpoints))
	for _, name := range slices.Sorted(maps.Keys(seen.endpoints)) {
		all = append(all, standing(seen, regions, *seen.endpoints[name], s.Clock.Now()))
	}
	return all, mark, nil
}
