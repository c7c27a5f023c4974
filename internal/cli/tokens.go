package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

func newTokens(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tokens",
		Aliases: []string{"token"},
		Short:   "Make and end credentials",
		Example: "  gco tokens create ci --role submitter --namespace builds\n  gco tokens list",
	}
	cmd.AddCommand(
		newTokensCreate(p, runTokensCreate),
		newTokensList(p, runTokensList),
		newTokensDelete(p, runTokensDelete),
	)
	return cmd
}

// tokenView is how tokens look in a list.
func tokenView(p *Program) view[api.Token] {
	return view[api.Token]{
		name: func(t api.Token) string { return t.ID },
		columns: []column[api.Token]{
			{header: "ID", cell: func(t api.Token) string { return t.ID }},
			{header: "NAME", cell: func(t api.Token) string { return t.Name }},
			{header: "ROLE", cell: func(t api.Token) string { return t.Role }},
			{header: "LIMITED TO", cell: limitsOf, shown: func(t api.Token) string { return dash(limitsOf(t)) }, wide: true},
			{
				header: "CREATED",
				cell:   func(t api.Token) string { return stamp(&t.CreatedAt) },
				shown:  func(t api.Token) string { return age(p.Clock, t.CreatedAt) + " ago" },
			},
			{
				header: "EXPIRES",
				cell:   func(t api.Token) string { return stamp(t.ExpiresAt) },
				shown: func(t api.Token) string {
					if t.ExpiresAt == nil {
						return "never"
					}
					return p.when(t.ExpiresAt)
				},
			},
		},
	}
}

func limitsOf(t api.Token) string {
	var parts []string
	if t.Region != "" {
		parts = append(parts, "region "+t.Region)
	}
	if len(t.Namespaces) > 0 {
		parts = append(parts, "namespaces "+strings.Join(t.Namespaces, ","))
	}
	if len(t.Endpoints) > 0 {
		parts = append(parts, "endpoints "+strings.Join(t.Endpoints, ","))
	}
	return strings.Join(parts, "; ")
}
