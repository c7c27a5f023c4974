package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

func newEndpoints(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "endpoints",
		Aliases: []string{"endpoint"},
		Short:   "Run inference services over regions",
		Example: "  gco endpoints create examples/endpoint.yaml --wait\n  gco endpoints get echo --watch\n  gco endpoints scale echo 4",
	}
	cmd.AddCommand(
		newEndpointsList(p, runEndpointsList),
		newEndpointsGet(p, runEndpointsGet),
		newEndpointsHistory(p, runEndpointsHistory),
		newEndpointsCreate(p, runEndpointsWrite),
		newEndpointsUpdate(p, runEndpointsWrite),
		newEndpointsApply(p, runEndpointsWrite),
		newEndpointsScale(p, runEndpointsChange),
		newEndpointsStop(p, runEndpointsChange),
		newEndpointsStart(p, runEndpointsChange),
		newEndpointsRollback(p, runEndpointsChange),
		newEndpointsCanary(p, runEndpointsChange),
		newEndpointsPromote(p, runEndpointsChange),
		newEndpointsInvoke(p, runEndpointsInvoke),
		newEndpointsDelete(p, runEndpointsChange),
	)
	return cmd
}

// endpointView is how endpoints look in a list.
func endpointView(p *Program) view[api.Endpoint] {
	return view[api.Endpoint]{
		name: func(e api.Endpoint) string { return e.Name },
		columns: []column[api.Endpoint]{
			{header: "NAME", cell: func(e api.Endpoint) string { return e.Name }},
			{header: "STATE", cell: func(e api.Endpoint) string { return e.State }},
			{header: "READY", cell: func(e api.Endpoint) string { return fmt.Sprintf("%d/%d", e.Ready, e.Replicas) }},
			{header: "REVISION", cell: revisionOf},
			{header: "REGIONS", cell: regionsOf},
			{
				header: "UPDATED",
				cell:   func(e api.Endpoint) string { return stamp(&e.UpdatedAt) },
				shown:  func(e api.Endpoint) string { return age(p.Clock, e.UpdatedAt) + " ago" },
			},
			{header: "MESSAGE", cell: func(e api.Endpoint) string { return e.Message }, wide: true},
		},
	}
}

// revisionOf is the revision that serves, with a canary and its share.
func revisionOf(e api.Endpoint) string {
	text := strconv.Itoa(e.Revision)
	if e.Canary != nil {
		text += fmt.Sprintf(", %d (%d%%)", e.Canary.Revision, e.Canary.Weight)
	}
	return text
}

// regionsOf is what each region has, as in "eu-west-1=2 us-east-1=1".
func regionsOf(e api.Endpoint) string {
	var parts []string
	for _, r := range e.Regions {
		if r.Replicas > 0 || r.Ready > 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", r.Region, r.Ready))
		}
	}
	return strings.Join(parts, " ")
}

// printEndpoints prints what was changed.
func printEndpoints(p *Program, f format, endpoints []api.Endpoint) error {
	if len(endpoints) == 0 {
		return nil
	}
	return printList(p, f, endpointView(p), endpoints, api.EndpointList{Items: endpoints})
}
