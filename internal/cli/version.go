package cli

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

// version is set by the linker in releases:
// -X github.com/gco-project/gco/internal/cli.version=v1.2.3
var version string

// thisVersion is what this binary says of itself. Without a release's version
// it is that of the module or the commit.
func thisVersion() api.Version {
	v := api.Version{Version: version, Go: runtime.Version()}
	build, ok := debug.ReadBuildInfo()
	if !ok {
		v.Version = cmp.Or(v.Version, "unknown")
		return v
	}
	for _, setting := range build.Settings {
		if setting.Key == "vcs.revision" {
			v.Commit = setting.Value
		}
	}
	v.Version = cmp.Or(v.Version, build.Main.Version, "unknown")
	return v
}

type versionOptions struct {
	*Program
	output format
}

func newVersion(p *Program, run func(context.Context, *versionOptions) error) *cobra.Command {
	opts := &versionOptions{Program: p}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which gco this is",
		Example: "  gco version\n  gco version -o json",
		Args:    none,
		RunE:    func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), opts) },
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runVersion(_ context.Context, opts *versionOptions) error {
	v := thisVersion()
	return printOne(opts.Program, opts.output, v, v.Version, func() error {
		commit := ""
		if v.Commit != "" {
			commit = " commit " + v.Commit
		}
		_, err := fmt.Fprintf(opts.Out, "gco %s%s (%s, %s/%s)\n", v.Version, commit, v.Go, runtime.GOOS, runtime.GOARCH)
		return err
	})
}
