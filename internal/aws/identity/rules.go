package identity

import (
	"fmt"
	"regexp"
	"strings"
)

// Pattern is the ARN of a user or role, in which * stands for any characters
// but : and /.
type Pattern struct{ rule *regexp.Regexp }

// arnRule is what a pattern may be. The account has no *: everyone has roles
// of any name in an account of their own. STS tells a role without its path.
var arnRule = regexp.MustCompile(`^arn:aws:(iam::\d{12}:(user/[\w+=,.@*/-]+|role/[\w+=,.@*-]+|root)|sts::\d{12}:federated-user/[\w+=,.@*-]+)$`)

// ParsePattern reads a pattern.
func ParsePattern(text string) (Pattern, error) {
	if !arnRule.MatchString(text) {
		return Pattern{}, fmt.Errorf("%q is no ARN of a caller: arn:aws:iam::ACCOUNT:role/NAME without the role's path, or arn:aws:iam::ACCOUNT:user/NAME; * may stand in a name", text)
	}
	var rule strings.Builder
	rule.WriteString("^")
	for i, part := range strings.Split(text, "*") {
		if i > 0 {
			rule.WriteString("[^:/]*")
		}
		rule.WriteString(regexp.QuoteMeta(part))
	}
	rule.WriteString("$")
	return Pattern{regexp.MustCompile(rule.String())}, nil
}

// Matches tells whether the caller is one of those.
func (p Pattern) Matches(caller Caller) bool {
	return p.rule != nil && p.rule.MatchString(caller.ARN)
}
