package cli

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/daemon"
)

// daemonOptions are those that up, server, agent and accelerator share.
type daemonOptions struct {
	*Program
	configFile string
	dir        string
	debug      string
	logLevel   string
	logFormat  string
}

func (o *daemonOptions) register(flags *pflag.FlagSet) {
	o.registerProcess(flags)
	flags.StringVar(&o.dir, "dir", "", "`DIRECTORY` for everything that is kept")
}

// registerProcess is register for what keeps nothing.
func (o *daemonOptions) registerProcess(flags *pflag.FlagSet) {
	flags.StringVar(&o.configFile, "config", "", "`FILE` with the configuration, a gco.yaml")
	flags.StringVar(&o.debug, "debug", "", "loopback `ADDRESS` for Go's profiler, such as 127.0.0.1:6060")
	flags.StringVar(&o.logLevel, "log-level", "", "least severity that is logged, `debug|info|warn|error`")
	flags.StringVar(&o.logFormat, "log-format", "", "form of the log, `auto|text|json`; auto is text on a terminal")
}

func (o *daemonOptions) completions(cmd *cobra.Command) {
	complete(cmd, "log-level", logLevels...)
	complete(cmd, "log-format", logFormats...)
}

var (
	logLevels  = []string{"debug", "info", "warn", "error"}
	logFormats = []string{"auto", "text", "json"}
)

// check refuses wrong values of the flags.
func (o *daemonOptions) check(cmd *cobra.Command) error {
	for _, f := range []struct {
		flag, value string
		allowed     []string
	}{
		{"log-level", o.logLevel, logLevels},
		{"log-format", o.logFormat, logFormats},
	} {
		if f.value != "" && !slices.Contains(f.allowed, f.value) {
			return usagef(cmd, "--%s %s: one of %v expected", f.flag, f.value, f.allowed)
		}
	}
	return nil
}

// load reads the configuration and lays the flags over it.
func (o *daemonOptions) load() (config.Config, error) {
	c, err := daemon.LoadConfig(o.configFile)
	if err != nil {
		return c, err
	}
	o.override(&c)
	return c, nil
}

// override lays the flags over a configuration.
func (o *daemonOptions) override(c *config.Config) {
	for _, over := range []struct {
		flag  string
		value *string
	}{
		{o.dir, &c.Server.Dir},
		{o.debug, &c.Server.Debug},
		{o.logLevel, &c.Server.Log.Level},
		{o.logFormat, &c.Server.Log.Format},
	} {
		if over.flag != "" {
			*over.value = over.flag
		}
	}
}

// log is the process's log, on standard error.
func (o *daemonOptions) log(c config.Config, level slog.Level) *slog.Logger {
	return daemon.NewLog(daemon.LogOptions{Out: o.Err, Terminal: o.ErrTerminal, Log: c.Server.Log, Level: level})
}

// stateDir makes a directory that only the user can enter.
func stateDir(dir string) (string, error) {
	absolute, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(absolute, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("making the directory for the state: %w", err)
	}
	return absolute, nil
}

// regionOf is what the configuration says of a region, with the nodes of
// gco up where it says nothing of nodes.
func regionOf(c config.Config, name string) config.Region {
	region, known := c.Regions[name]
	laptop := config.LaptopRegion(name)
	if !known {
		return laptop
	}
	if len(region.Nodes) == 0 {
		region.Nodes = laptop.Nodes
	}
	return region
}
