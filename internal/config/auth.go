package config

import "fmt"

// Auth is how callers without a token of GCO prove who they are.
type Auth struct {
	Audience string    `json:"audience" doc:"The server's name, which a credential of AWS must be for: the host under which clients reach it. Needed with iam." maxLength:"253" pattern:"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$" patternDescription:"a host name such as gco.example.com"`
	IAM      []IAMRule `json:"iam" doc:"What users and roles of AWS may do. The first rule that fits counts; whom none fits, is refused." maxItems:"1000"`
}

// IAMRule lets users or roles of AWS in.
type IAMRule struct {
	ARN        string   `json:"arn" doc:"The ARN of a user, or of a role without its path; * stands for any characters of a name. The account is always written out." minLength:"1" maxLength:"2048"`
	Role       string   `json:"role" doc:"What they may do, as tokens do." enum:"admin,submitter,viewer,invoker,agent"`
	Namespaces []string `json:"namespaces" doc:"The namespaces of a submitter or viewer; none is all." maxItems:"100"`
	Region     string   `json:"region" doc:"The region that an agent speaks for."`
}

func (a Auth) validate(path string) []Fault {
	var faults []Fault
	if len(a.IAM) > 0 && a.Audience == "" {
		faults = append(faults, faultf(path+".audience", "is needed with %s.iam: the host name under which clients reach the server", path))
	}
	for i, rule := range a.IAM {
		at := fmt.Sprintf("%s.iam[%d]", path, i)
		if (rule.Role == "agent") != (rule.Region != "") {
			faults = append(faults, faultf(at+".region", "belongs to role agent, which needs it"))
		}
		if len(rule.Namespaces) > 0 && rule.Role != "submitter" && rule.Role != "viewer" {
			faults = append(faults, faultf(at+".namespaces", "only have a meaning with roles submitter and viewer"))
		}
	}
	return faults
}
