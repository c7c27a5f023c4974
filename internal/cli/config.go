package cli

import (
	"context"
	"fmt"

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
	output format
	file   string
}

func newConfigShow(p *Program, run func(context.Context, *configShowOptions) error) *cobra.Command {
	opts := &configShowOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "show [FILE]",
		Short: "Show which server you talk to, or a gco.yaml with all defaults",
		Long: `Show without a file says which server your commands talk to, and where that
setting comes from. With a gco.yaml it prints the whole configuration that the
file stands for, defaults included.`,
		Example: "  gco config show\n  gco config show gco.yaml -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				opts.file = args[0]
			}
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
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

func runConfigShow(_ context.Context, opts *configShowOptions) error {
	if opts.file != "" {
		return opts.showFile()
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

func (o *configShowOptions) showFile() error {
	c, err := daemon.LoadConfig(o.file)
	if err != nil {
		return err
	}
	f := o.output
	if f == "" {
		f = formatYAML
	}
	if f == formatName {
		_, err := fmt.Fprintln(o.Out, c.Project)
		return err
	}
	return printValue(o.Out, f, c.Values())
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
