// Package infra defines what GCO builds in an AWS account, as an AWS CDK app:
// the global stack that all regions share, the state stack of what gco server
// keeps beside it, and the alarms on both.
//
// It reads the same gco.yaml as the product, through internal/config, and lays
// the CDK context over it. It is a module of its own, because a program that
// imports the CDK needs Node to run and unpacks files at every start; nothing of
// the product imports it. cmd/gco-infra runs it for the CDK command line and for
// the make targets in infra.mk.
//
// The CDK's objects live in a Node process that is not safe for concurrent use:
// one goroutine at a time.
package infra

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/internal/config"
)

// DefaultConfig is the configuration that is read, where it exists, when none
// is named. It is relative to infra/, where the CDK command line runs.
const DefaultConfig = "../gco.yaml"

//go:embed cdk.json
var cdkJSON []byte

// Options say what to synthesize.
type Options struct {
	// Config is the path of gco.yaml. Empty means the context's key config,
	// else DefaultConfig where that exists, else no file at all.
	Config string
	// Context is laid over the file, as -c of the CDK command line is.
	Context map[string]any
	// OutDir receives the templates and reports. Empty means the directory
	// that the CDK command line has chosen, else one that CDK makes up.
	OutDir string
}

// Assembly is the outcome of a synthesis.
type Assembly struct {
	Dir    string
	Config config.Config
	// Stacks are the names of the stacks, in deployment order. Each has its
	// template in Dir, under its name and ".template.json".
	Stacks []string
	Global *GlobalStack
	// State is nil where the configuration does without it.
	State *StateStack
	Nag   NagReport
}

// Template is the path of a stack's template.
func (a Assembly) Template(stack string) string {
	return filepath.Join(a.Dir, stack+".template.json")
}

// Synth builds the app and writes its templates. A faulty configuration gives a
// [*config.Invalid]. Findings of cdk-nag that nothing suppresses are an error
// too; then the assembly is returned with it, and its templates are removed.
func Synth(options Options) (Assembly, error) {
	app := newApp(options.OutDir)
	conf, err := loadConfig(app, options)
	if err != nil {
		return Assembly{}, err
	}
	assembly := Assembly{Config: conf}

	name := globalStackName(conf.Project)
	assembly.Global = NewGlobalStack(app, name, conf)
	assembly.Stacks = append(assembly.Stacks, name)
	if conf.AWS.State.Enabled {
		assembly.State = NewStateStack(app, stateStackName(conf.Project), conf)
		assembly.State.AddDependency(assembly.Global.Stack, jsii.String("its backup plan and its topic come from there"))
		assembly.Stacks = append(assembly.Stacks, *assembly.State.StackName())
	}
	if conf.AWS.Alarms.Enabled && conf.AWS.Region != acceleratorMetricsRegion {
		stack := newAcceleratorAlarms(app, conf)
		stack.AddDependency(assembly.Global.Stack, jsii.String("its parameters come from there"))
		assembly.Stacks = append(assembly.Stacks, *stack.StackName())
	}
	addTags(app, conf)

	assembly.Dir, assembly.Nag, err = write(app, assembly.Stacks)
	return assembly, err
}

// write applies cdk-nag, writes the templates and reads the findings. It
// returns the directory that holds them. With an open finding, or none to be
// read, that has the reports only: nothing there can be deployed.
func write(app awscdk.App, stacks []string) (string, NagReport, error) {
	addNag(app)
	dir := *app.Synth(nil).Directory()
	report, err := readNag(dir, stacks)
	if err == nil {
		err = report.err()
	}
	if err != nil {
		err = errors.Join(err, discard(dir, stacks))
	}
	return dir, report, err
}

// discard removes what a deployment would take: the manifest that the CDK command
// line reads, and the templates.
func discard(dir string, stacks []string) error {
	files := []string{"manifest.json"}
	for _, stack := range stacks {
		files = append(files, stack+".template.json")
	}
	var failed error
	for _, file := range files {
		if err := os.Remove(filepath.Join(dir, file)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, fmt.Errorf("removing what must not be deployed: %w", err))
		}
	}
	return failed
}

// newApp makes the app as the CDK command line would: what that adds to the
// context, cdk.json switches off or featureFlags brings.
func newApp(outDir string) awscdk.App {
	return awscdk.NewApp(&awscdk.AppProps{
		Context:            new(featureFlags()),
		Outdir:             optional(outDir),
		AnalyticsReporting: jsii.Bool(false),
		TreeMetadata:       jsii.Bool(false),
	})
}

// loadConfig reads gco.yaml with the app's context over it. The CDK command line
// hands its own context to the app directly, so it is asked for there.
func loadConfig(app awscdk.App, options Options) (config.Config, error) {
	context := map[string]any{}
	if given, ok := app.Node().GetAllContext(nil).(map[string]any); ok {
		maps.Copy(context, given)
	}
	maps.Copy(context, options.Context)
	options.Context = context
	return Load(options)
}

// Load reads the configuration that Synth would build for the same options,
// without the CDK.
func Load(options Options) (config.Config, error) {
	path := options.Config
	if named, ok := options.Context[contextConfig].(string); ok && path == "" {
		path = named
	}
	if path == "" {
		switch _, err := os.Stat(DefaultConfig); {
		case err == nil:
			path = DefaultConfig
		case !errors.Is(err, fs.ErrNotExist):
			return config.Config{}, fmt.Errorf("looking for a configuration: %w", err)
		}
	}
	return config.Load(path, overlays(options.Context)...)
}

// addTags tags every resource that takes tags. In production the project's name
// is always among them, so that its cost can be told from others'.
func addTags(app awscdk.App, conf config.Config) {
	if conf.AWS.Profile == config.ProfileProduction {
		awscdk.Tags_Of(app).Add(jsii.String("gco:project"), jsii.String(conf.Project), nil)
	}
	for _, key := range slices.Sorted(maps.Keys(conf.AWS.Tags)) {
		awscdk.Tags_Of(app).Add(jsii.String(key), jsii.String(conf.AWS.Tags[key]), nil)
	}
}

// featureFlags are the context of cdk.json, which the CDK command line gives to
// the app and nothing else does. From here tests get the same.
func featureFlags() map[string]any {
	var file struct {
		Context map[string]any `json:"context"`
	}
	if err := json.Unmarshal(cdkJSON, &file); err != nil {
		panic(fmt.Sprintf("infra: embedded cdk.json: %v", err))
	}
	return file.Context
}
