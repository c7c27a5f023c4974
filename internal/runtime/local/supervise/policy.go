package supervise

import (
	"slices"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// matching returns the first rule of podFailurePolicy that a failed pod
// matches, or nil.
func matching(rules []attempt.FailureRule, p *pod) *attempt.FailureRule {
	for i, rule := range rules {
		if slices.ContainsFunc(p.containers(), func(c *container) bool { return matches(rule, c) }) {
			return &rules[i]
		}
	}
	return nil
}

func matches(rule attempt.FailureRule, c *container) bool {
	if c.exitCode == nil || *c.exitCode == 0 {
		return false
	}
	if rule.Container != "" && rule.Container != c.template.Name {
		return false
	}
	return slices.Contains(rule.Codes, *c.exitCode) == rule.In
}
