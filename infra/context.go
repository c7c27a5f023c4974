package infra

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gco-project/gco/internal/config"
)

// Context keys that say how to load the configuration, not what is in it.
const (
	contextConfig  = "config"  // path of gco.yaml
	contextProfile = "profile" // short for aws.profile

	// contextTelemetry is the one key of the CDK command line's own that looks
	// like ours. cdk.json switches its telemetry off with it.
	contextTelemetry = "cli-telemetry"
)

// settingsOf are the context keys of the stack that GCO started from, by the
// path of the setting each one is here. They go on working.
var settingsOf = map[string]string{
	"project_name":                             "project",
	"deployment_regions.global":                "aws.region",
	"deployment_regions.regional":              "aws.regions",
	"global_accelerator.name":                  "aws.accelerator.name",
	"global_accelerator.health_check_path":     "aws.accelerator.healthCheck.path",
	"global_accelerator.health_check_interval": "aws.accelerator.healthCheck.intervalSeconds",
	"s3_access_logs.retention_days":            "aws.buckets.accessLogRetentionDays",
	"tags":                                     "aws.tags",
}

// overlays turns CDK context into layers over gco.yaml: -c aws.region=eu-west-1,
// or the same as an object in cdk.json, or one of the older names. Keys of CDK's
// own, which contain a colon or start with @, are passed over. Any other key is
// laid over as it is, so that the loader reports it with the rest.
func overlays(context map[string]any) []config.Overlay {
	var layers []config.Overlay
	for _, key := range slices.Sorted(maps.Keys(context)) {
		value := context[key]
		group, object := value.(map[string]any)
		switch {
		case strings.Contains(key, ":") || strings.HasPrefix(key, "@") || key == contextConfig || key == contextTelemetry:
		case key == contextProfile:
			layers = append(layers, layer(key, "aws.profile", value))
		case settingsOf[key] != "":
			layers = append(layers, layer(key, settingsOf[key], value))
		case object && isGroup(key):
			layers = append(layers, groupLayers(key, group)...)
		default:
			layers = append(layers, layer(key, key, value))
		}
	}
	return layers
}

// isGroup tells whether key stands for several older names, as
// global_accelerator does.
func isGroup(key string) bool {
	for old := range settingsOf {
		if strings.HasPrefix(old, key+".") {
			return true
		}
	}
	return false
}

func groupLayers(group string, values map[string]any) []config.Overlay {
	var layers []config.Overlay
	for _, key := range slices.Sorted(maps.Keys(values)) {
		name := group + "." + key
		path, known := settingsOf[name]
		if !known {
			path = name
		}
		layers = append(layers, layer(name, path, values[key]))
	}
	return layers
}

// layer sets one dotted path to one value.
func layer(key, path string, value any) config.Overlay {
	first, rest, nested := strings.Cut(path, ".")
	tree := map[string]any{first: parsed(value)}
	if nested {
		tree[first] = layer(key, rest, value).Value
	}
	return config.Overlay{Source: "CDK context " + key, Value: tree}
}

// parsed reads a value off the command line, where everything is a string, as
// the file would: 30 is a number and [us-east-1, us-west-2] a list.
func parsed(value any) any {
	s, ok := value.(string)
	if !ok {
		return value
	}
	var v any
	if err := yaml.Unmarshal([]byte(s), &v); err != nil || v == nil {
		return s
	}
	return v
}
