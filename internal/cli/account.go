package cli

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

// account is the flags that name a project in an AWS account.
type account struct {
	project      string
	globalRegion string
}

func (a *account) register(flags *pflag.FlagSet) {
	flags.StringVar(&a.project, "project", "", "`NAME` of the project, as its stacks in AWS have it (GCO_PROJECT)")
	flags.StringVar(&a.globalRegion, "global-region", "", "AWS `REGION` of the project's tables; keeps everything there, and finds what it needs by their SSM parameters (GCO_GLOBAL_REGION)")
}

func (a *account) completions(cmd *cobra.Command) {
	complete(cmd, "global-region", config.AWSRegions()...)
}

// overlays are what the flags, and else the environment, set. Where the Region
// is named, the store is there.
func (a *account) overlays(p *Program) []config.Overlay {
	var overlays []config.Overlay
	if project := first(source{a.project, "--project"}, p.env("GCO_PROJECT")); project.value != "" {
		overlays = append(overlays, daemon.Setting(project.from, "project", project.value))
	}
	if region := first(source{a.globalRegion, "--global-region"}, p.env("GCO_GLOBAL_REGION")); region.value != "" {
		overlays = append(overlays,
			daemon.Setting(region.from, "store.driver", string(config.DriverDynamoDB)),
			daemon.Setting(region.from, "store.region", region.value))
	}
	return overlays
}
