package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

func newConfig(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Look at your settings, and check a gco.yaml",
		Example: "  gco config show\n  gco config validate gco.yaml",
	}
	cmd.AddCommand(
		newConfigShow(p, runConfigShow),
		newConfigValidate(p, runConfigValidate),
		newConfigSchema(p, runConfigSchema),
	)
	return cmd
}

type configShowOptions struct {
	*Program
	account
	output format
	file   string
}

func newConfigShow(p *Program, run func(context.Context, *configShowOptions) error) *cobra.Command {
	opts := &configShowOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show which server you talk to, or a gco.yaml with all defaults",
		Long: `Show without a file says which server your commands talk to, and where that
setting comes from.

With a gco.yaml, a project or its Region it lists the whole configuration of a
server, defaults included, and where each value came from: the default, a line
of the file, a flag, the environment or an SSM parameter. With -o json or yaml
it is a gco.yaml that says all of it.`,
		Example: "  gco config show\n  gco config show gco.yaml -o json\n  gco config show --project gco --global-region us-east-2",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				opts.file = args[0]
			}
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	opts.account.register(cmd.Flags())
	opts.account.completions(cmd)
	return cmd
}

// shownSettings is what config show says, without the secret.
type shownSettings struct {
	Address     string `json:"address"`
	AddressFrom string `json:"addressFrom"`
	TokenFrom   string `json:"tokenFrom"`
	CAFile      string `json:"caFile,omitempty"`
	Auth        string `json:"auth"`
	AuthFrom    string `json:"authFrom"`
	// Audience is for aws-iam.
	Audience     string `json:"audience,omitempty"`
	AudienceFrom string `json:"audienceFrom,omitempty"`
	ConfigFile   string `json:"configFile"`
}

func runConfigShow(ctx context.Context, opts *configShowOptions) error {
	if overlays := opts.overlays(opts.Program); opts.file != "" || len(overlays) > 0 {
		return opts.showConfig(ctx, overlays)
	}
	s, err := opts.settings()
	if err != nil {
		return err
	}
	path, err := opts.userConfigPath()
	if err != nil {
		return err
	}
	shown := shownSettings{
		Address: s.address.value, AddressFrom: s.address.from, TokenFrom: s.token.from,
		CAFile: s.caFile.value, ConfigFile: path, Auth: s.auth.value, AuthFrom: s.auth.from,
	}
	if s.auth.value == authIAM {
		shown.TokenFrom, shown.Audience, shown.AudienceFrom = "your credentials of AWS", s.audience.value, s.audience.from
	}
	return printOne(opts.Program, opts.output, shown, shown.Address, func() error {
		return opts.fields([]field{
			{"Address", shown.Address},
			{"Address from", shown.AddressFrom},
			{"Token from", shown.TokenFrom},
			{"Audience", shown.Audience},
			{"Audience from", shown.AudienceFrom},
			{"CA file", shown.CAFile},
			{"Your config file", shown.ConfigFile},
		})
	})
}

// settingView is one value and where it came from.
var settingView = view[config.Setting]{
	name: func(s config.Setting) string { return s.Path },
	columns: []column[config.Setting]{
		{header: "KEY", cell: func(s config.Setting) string { return s.Path }},
		{header: "VALUE", cell: func(s config.Setting) string { return valueText(s.Value) }, wide: true},
		{header: "FROM", cell: func(s config.Setting) string { return s.From }},
	},
}

// valueText is a value as gco.yaml would have it on one line.
func valueText(value any) string {
	if value == nil {
		return ""
	}
	if text := reflect.ValueOf(value); text.Kind() == reflect.String {
		return text.String()
	}
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(text)
}

func (o *configShowOptions) showConfig(ctx context.Context, overlays []config.Overlay) error {
	c, sources, err := daemon.DiscoverConfig(ctx, o.file, overlays...)
	if err != nil {
		return err
	}
	if o.output == formatName {
		_, err := fmt.Fprintln(o.Out, c.Project)
		return err
	}
	return printList(o.Program, o.output, settingView, c.Settings(sources), c.Values())
}

type configValidateOptions struct {
	*Program
	file string
}

func newConfigValidate(p *Program, run func(context.Context, *configValidateOptions) error) *cobra.Command {
	opts := &configValidateOptions{Program: p}
	return &cobra.Command{
		Use:     "validate FILE",
		Short:   "Check a gco.yaml: every fault at once, with its line",
		Example: "  gco config validate gco.yaml",
		Args:    one("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.file = args[0]
			return run(cmd.Context(), opts)
		},
	}
}

func runConfigValidate(_ context.Context, opts *configValidateOptions) error {
	if _, err := daemon.LoadConfig(opts.file); err != nil {
		return err
	}
	_, err := fmt.Fprintf(opts.Out, "%s is valid\n", opts.file)
	return err
}

type configSchemaOptions struct{ *Program }

func newConfigSchema(p *Program, run func(context.Context, *configSchemaOptions) error) *cobra.Command {
	opts := &configSchemaOptions{Program: p}
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of gco.yaml, for editors",
		Example: "  gco config schema > gco.schema.json",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
}

func runConfigSchema(_ context.Context, opts *configSchemaOptions) error {
	_, err := opts.Out.Write(config.Schema())
	return err
}
