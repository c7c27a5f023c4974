package cli

import (
	"errors"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

var storeDrivers = []string{string(config.DriverSQLite), string(config.DriverDynamoDB)}

// storeFlags say which database is used.
type storeFlags struct {
	driver      string
	endpointURL string
}

func (f *storeFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.driver, "store", "", "database, `sqlite|dynamodb`: a file in the directory, or tables (default sqlite)")
	flags.StringVar(&f.endpointURL, "endpoint-url", "", "`URL` of what stands in for DynamoDB, such as http://127.0.0.1:8000; tables are made there")
}

func (f *storeFlags) completions(cmd *cobra.Command) { complete(cmd, "store", storeDrivers...) }

func (f *storeFlags) check(cmd *cobra.Command) error {
	if f.driver != "" && !slices.Contains(storeDrivers, f.driver) {
		return usagef(cmd, "--store %s: one of %v expected", f.driver, storeDrivers)
	}
	if f.endpointURL != "" && f.driver == string(config.DriverSQLite) {
		return usagef(cmd, "--endpoint-url is of --store dynamodb")
	}
	return nil
}

// overlays are what the flags set.
func (f *storeFlags) overlays() []config.Overlay {
	var overlays []config.Overlay
	if f.endpointURL != "" {
		overlays = append(overlays,
			daemon.Setting("--endpoint-url", "store.driver", string(config.DriverDynamoDB)),
			daemon.Setting("--endpoint-url", "store.endpointURL", f.endpointURL))
	}
	if f.driver != "" {
		overlays = append(overlays, daemon.Setting("--store", "store.driver", f.driver))
	}
	return overlays
}

// atStandIn refuses tables of an account: gco up is for one machine.
func atStandIn(c config.Config) error {
	if c.Store.Driver == config.DriverDynamoDB && c.Store.EndpointURL == "" {
		return errors.New("gco up makes its tables itself, and does so only where something stands in for DynamoDB: pass --endpoint-url, or run gco server on the tables of infra/")
	}
	return nil
}
