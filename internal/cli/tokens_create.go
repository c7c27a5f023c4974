package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

type tokensCreateOptions struct {
	*Program
	output  format
	token   api.NewToken
	expires time.Duration
}

func newTokensCreate(p *Program, run func(context.Context, *tokensCreateOptions) error) *cobra.Command {
	opts := &tokensCreateOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token, and print its secret once",
		Long: `Create makes a token. Its secret is printed on standard output, alone, and can't
be shown again: the server keeps a hash.

Roles: admin may do everything; submitter may submit and change jobs of its
namespaces, viewer may look at them; invoker may call endpoints; agent may speak
for one region.`,
		Example: `  gco tokens create ci --role submitter --namespace builds --expires-in 720h > ci.token
  gco tokens create us-east-1-agent --role agent --region us-east-1 > agent.token`,
		Args:              one("NAME"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.token.Name = args[0]
			if opts.token.Role == "" {
				return usagef(cmd, "--role is needed: admin, submitter, viewer, invoker or agent")
			}
			if opts.expires < 0 {
				return usagef(cmd, "--expires-in can't be negative")
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.token.Role, "role", "", "what the token may do, `admin|submitter|viewer|invoker|agent`")
	flags.StringSliceVarP(&opts.token.Namespaces, "namespace", "n", nil, "submitter, viewer: only this `NAMESPACE`; may be repeated (default all)")
	flags.StringVar(&opts.token.Region, "region", "", "agent: the `REGION` to speak for")
	flags.StringSliceVar(&opts.token.Endpoints, "endpoint", nil, "invoker: only this `ENDPOINT`; may be repeated (default all)")
	flags.DurationVar(&opts.expires, "expires-in", 0, "end the token after this `DURATION` (default never)")
	complete(cmd, "role", "admin", "submitter", "viewer", "invoker", "agent")
	completeWith(cmd, "region", p.regionNames())
	addOutput(cmd, &opts.output)
	return cmd
}

func runTokensCreate(ctx context.Context, opts *tokensCreateOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	if opts.expires > 0 {
		opts.token.ExpiresIn = opts.expires.String()
	}
	created, err := c.CreateToken(ctx, opts.token)
	if err != nil {
		return fmt.Errorf("creating token %s: %w", opts.token.Name, err)
	}
	return printOne(opts.Program, opts.output, created, created.ID, func() error {
		fmt.Fprintf(opts.Err, "Token %s (%s, %s) is made. This is its secret, and it is shown only now:\n", created.Name, created.Role, created.ID)
		_, err := fmt.Fprintln(opts.Out, created.Secret)
		return err
	})
}
