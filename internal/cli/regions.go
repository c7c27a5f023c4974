package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

func newRegions(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "regions",
		Aliases: []string{"region"},
		Short:   "Look at regions, and keep work out of them",
		Example: "  gco regions list\n  gco regions drain us-east-1",
	}
	cmd.AddCommand(newRegionsList(p, runRegionsList), newRegionsGet(p, runRegionsGet))
	for _, verb := range regionVerbs {
		cmd.AddCommand(newRegionsVerb(p, verb, runRegionsVerb))
	}
	return cmd
}

// regionView is how regions look in a list.
func regionView(p *Program) view[api.Region] {
	return view[api.Region]{
		name: func(r api.Region) string { return r.Name },
		columns: []column[api.Region]{
			{header: "NAME", cell: func(r api.Region) string { return r.Name }},
			{header: "LEASE", cell: func(r api.Region) string { return r.Lease }},
			{header: "WORK", cell: workOf},
			{header: "RUNNING", cell: active},
			{header: "PLACED", cell: func(r api.Region) string { return strconv.FormatInt(r.Jobs[string(job.Placed)], 10) }},
			{header: "FREE", cell: func(r api.Region) string { return resources(r.Free) }, shown: func(r api.Region) string { return dash(shares(r)) }, wide: true},
			{
				header: "RENEWED",
				cell:   func(r api.Region) string { return stamp(r.RenewedAt) },
				shown: func(r api.Region) string {
					if r.RenewedAt == nil {
						return "-"
					}
					return age(p.Clock, *r.RenewedAt) + " ago"
				},
			},
		},
	}
}

// workOf says whether a region takes new work.
func workOf(r api.Region) string {
	switch {
	case r.Draining:
		return "draining"
	case r.Cordoned:
		return "cordoned"
	case r.UnreachableSince != nil:
		return "unreachable"
	case r.AwaitedSince != nil:
		return "awaited"
	case !r.Healthy:
		return "unhealthy"
	case !r.Inventoried:
		return "starting"
	default:
		return "open"
	}
}

func active(r api.Region) string {
	return strconv.FormatInt(r.Jobs[string(job.Claimed)]+r.Jobs[string(job.Pending)]+r.Jobs[string(job.Running)], 10)
}

// shares shows what is free of what there is, of the resources that decide.
func shares(r api.Region) string {
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(r.Total), byImportance) {
		if r.Total[name] > 0 && decides(name) {
			parts = append(parts, fmt.Sprintf("%s %s/%s", name, amount(name, r.Free[name]), amount(name, r.Total[name])))
		}
	}
	return strings.Join(parts, ", ")
}

// resources shows amounts of resources, the most telling first.
func resources(amounts map[string]int64) string {
	var parts []string
	for _, name := range slices.SortedFunc(maps.Keys(amounts), byImportance) {
		if amounts[name] != 0 {
			parts = append(parts, name+" "+amount(name, amounts[name]))
		}
	}
	return strings.Join(parts, ", ")
}

// telling shows amounts of the resources that decide.
func telling(amounts map[string]int64) string {
	few := map[string]int64{}
	for name, n := range amounts {
		if decides(name) {
			few[name] = n
		}
	}
	return resources(few)
}

// decides tells whether people choose nodes by a resource.
func decides(name string) bool { return name != capacity.EphemeralStorage && name != capacity.Pods }

// byImportance puts accelerators first, then cpu and memory, then the rest.
func byImportance(a, b string) int {
	rank := func(name string) int {
		switch name {
		case capacity.CPU:
			return 1
		case capacity.Memory:
			return 2
		case capacity.EphemeralStorage, capacity.Pods:
			return 3
		default:
			return 0
		}
	}
	if rank(a) != rank(b) {
		return rank(a) - rank(b)
	}
	return strings.Compare(a, b)
}

// amount shows a count in the unit that people use for the resource.
func amount(name string, n int64) string {
	switch name {
	case capacity.CPU:
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64)
	case capacity.Memory, capacity.EphemeralStorage:
		return bytesOf(n)
	default:
		return strconv.FormatInt(n, 10)
	}
}

func bytesOf(n int64) string {
	units := []string{"", "Ki", "Mi", "Gi", "Ti", "Pi"}
	value, unit := float64(n), 0
	for value >= 1024 && unit < len(units)-1 {
		value /= 1024
		unit++
	}
	return strings.TrimSuffix(strconv.FormatFloat(value, 'f', 1, 64), ".0") + units[unit]
}
