package daemon

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/aws/discovery"
	"github.com/gco-project/gco/internal/config"
)

// DiscoverConfig is [LoadSettings], and fills in what the file and the overlays
// leave open and a project in an AWS account has: the names of tables and of
// the bucket. It asks AWS only where the store is there.
func DiscoverConfig(ctx context.Context, path string, overlays ...config.Overlay) (config.Config, config.Sources, error) {
	c, sources, err := LoadSettings(path, overlays...)
	if err != nil || c.Store.Driver != config.DriverDynamoDB || c.Store.EndpointURL != "" {
		return c, sources, err
	}
	open := slices.DeleteFunc(discovery.Keys(), func(key string) bool { return sources[key] != "" })
	if len(open) == 0 {
		return c, sources, nil
	}
	region := cmp.Or(c.Store.Region, c.AWS.Region)
	found, err := discovery.Find(ctx, c.Project, region, open)
	if err != nil {
		return c, sources, err
	}
	for _, key := range open {
		value := found[key].Value
		if key == "server.bucket" {
			value = "s3://" + value + "?" + url.Values{"region": {region}}.Encode()
		}
		overlays = append(overlays, Setting("SSM parameter "+found[key].Parameter, key, value))
	}
	return LoadSettings(path, overlays...)
}

// Setting is an overlay that sets the value at one path.
func Setting(source, path string, value any) config.Overlay {
	keys := strings.Split(path, ".")
	for _, key := range slices.Backward(keys) {
		value = map[string]any{key: value}
	}
	return config.Overlay{Source: source, Value: value.(map[string]any)}
}
