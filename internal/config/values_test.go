package config_test

import (
	"reflect"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gco-project/gco/internal/config"
)

func TestValuesAreReadBackAsTheSameConfiguration(t *testing.T) {
	spot := 0.5
	c := config.Default()
	c.Timing.Lease, c.Timing.Trust, c.Timing.Takeover = 60e9, 45e9, 80e9
	c.Regions = config.Regions{"a": {
		Nodes:  []config.Node{{Count: 2, Resources: map[string]config.Quantity{"cpu": "8", "memory": "1Gi"}, Labels: map[string]string{"x": "y"}, Taints: []config.Taint{{Key: "k", Effect: "NoExecute"}}}},
		Prices: map[string]config.Price{"cpu": {OnDemand: 1, Spot: &spot}, "memory": {OnDemand: 2}},
	}}
	text, err := yaml.Marshal(c.Values())
	if err != nil {
		t.Fatal(err)
	}
	again, err := config.Parse("values", text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	// Empty and absent lists and maps mean the same.
	if got, want := again.Values(), c.Values(); !reflect.DeepEqual(got, want) {
		t.Errorf("read back as\n%v\nwant\n%v", got, want)
	}
}
