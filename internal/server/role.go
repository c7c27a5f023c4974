package server

import (
	"slices"

	"github.com/gco-project/gco/internal/store"
)

// Role is what a token may do. The routes name the roles that may use them;
// what no route names, nobody may.
type Role string

// The roles.
const (
	// Admin: everything but to speak for a region.
	Admin Role = "admin"
	// Submitter: submit, read and end jobs, in some namespaces or all; with
	// all of them, write templates, too.
	Submitter Role = "submitter"
	// Viewer: read jobs, in some namespaces or all.
	Viewer Role = "viewer"
	// Invoker: use inference endpoints.
	Invoker Role = "invoker"
	// Agent: speak for one region.
	Agent Role = "agent"
)

// Roles lists every role.
var Roles = []Role{Admin, Submitter, Viewer, Invoker, Agent}

// The groups of roles that routes name.
var (
	admins  = []Role{Admin}
	writers = []Role{Admin, Submitter}
	readers = []Role{Admin, Submitter, Viewer}
	agents  = []Role{Agent}
)

// principal is who makes a call.
type principal struct {
	id   string
	name string
	role Role
	// namespaces limit what is seen and done; empty is all.
	namespaces []string
	// region is the one that an agent speaks for.
	region string
	// endpoints limit what an invoker may use; empty is all.
	endpoints []string
}

func principalOf(token store.Token) principal {
	return principal{
		id: token.ID, name: token.Name, role: Role(token.Role),
		namespaces: token.Namespaces, region: token.Region, endpoints: token.Endpoints,
	}
}

// sees tells whether things of a namespace exist for the principal.
func (p principal) sees(namespace string) bool {
	return len(p.namespaces) == 0 || slices.Contains(p.namespaces, namespace)
}

// scope narrows a filter to what the principal sees. none says that nothing
// is left.
func (p principal) scope(namespace string) (namespaces []string, none bool) {
	switch {
	case namespace == "":
		return p.namespaces, false
	case p.sees(namespace):
		return []string{namespace}, false
	default:
		return nil, true
	}
}
