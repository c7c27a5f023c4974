package manifest

import (
	"maps"
	"slices"
)

// OptionNames lists the annotations with their prefix.
func OptionNames() []string {
	names := slices.Sorted(maps.Keys(optionSetters))
	for i := range names {
		names[i] = ownPrefix + names[i]
	}
	return names
}
