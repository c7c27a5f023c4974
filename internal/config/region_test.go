package config_test

import (
	"math"
	"testing"

	"github.com/gco-project/gco/internal/config"
)

func TestRegionsDecode(t *testing.T) {
	c, err := config.Parse("gco.yaml", []byte(`
regions:
  us-east-1:
    nodes:
      - resources: {cpu: 8, memory: 32Gi, nvidia.com/gpu: 4}
        taints: [{key: dedicated}]
      - {count: 3, resources: {cpu: 500m, memory: 1.5Gi}}
    prices:
      nvidia.com/gpu: {onDemand: 2.5, spot: 0}
      cpu: {onDemand: 0.04}
`))
	if err != nil {
		t.Fatal(err)
	}
	region := c.Regions["us-east-1"]
	if got := region.Nodes[0]; got.Count != 1 || got.Resources["nvidia.com/gpu"] != "4" || got.Taints[0].Effect != "NoSchedule" {
		t.Errorf("first node = %+v", got)
	}
	if got := region.Nodes[1]; got.Count != 3 || got.Resources["cpu"] != "500m" {
		t.Errorf("second node = %+v", got)
	}
	if got := region.Prices["nvidia.com/gpu"]; got.Spot == nil || *got.Spot != 0 {
		t.Errorf("a spot price of 0 = %v, want one that is known", got.Spot)
	}
	if got := region.Prices["cpu"]; got.Spot != nil {
		t.Errorf("an absent spot price = %v, want nil", *got.Spot)
	}
}

func TestRegionFaults(t *testing.T) {
	for _, test := range []struct{ text, fault string }{
		{"regions: {a: {}}", ""},
		{"regions: {A: {}}", `regions.A: "A" is not a region name`},
		{"regions: {a: {nodes: [{resources: {cpu: 1}}]}}", "regions.a.nodes[0].resources: memory is missing"},
		{"regions: {a: {nodes: [{resources: {cpu: lots, memory: 1}}]}}", "regions.a.nodes[0].resources.cpu: a quantity such as 500m, 8 or 32Gi expected"},
		{"regions: {a: {nodes: [{resources: {cpu: -1, memory: 1}}]}}", "a quantity such as"},
		{"regions: {a: {nodes: [{count: 0, resources: {cpu: 1, memory: 1}}]}}", "regions.a.nodes[0].count: must be at least 1"},
		{"regions: {a: {nodes: [{resources: {cpu: 1, memory: 1}, taints: [{key: k, effect: Never}]}]}}", "effect: must be one of"},
		{"regions: {a: {prices: {cpu: {onDemand: -1}}}}", "regions.a.prices.cpu.onDemand: must be at least 0"},
		{"regions: {a: {prices: {cpu: {onDemand: 1, spot: -1}}}}", "spot: must be at least 0"},
	} {
		wantFault(t, test.text, test.fault)
	}
}

func TestLaptopRegionsAreValidAndDiffer(t *testing.T) {
	c := config.Default()
	c.Regions = config.Regions{"elsewhere": config.LaptopRegion("elsewhere")}
	prices := map[float64]string{}
	for _, name := range config.LaptopRegionNames {
		c.Regions[name] = config.LaptopRegion(name)
		price := c.Regions[name].Prices["cpu"].OnDemand
		if other, taken := prices[price]; taken {
			t.Errorf("%s and %s have the same price of cpu, %v", name, other, price)
		}
		prices[price] = name
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestQuantityIn(t *testing.T) {
	for _, test := range []struct {
		quantity config.Quantity
		resource string
		want     int64
	}{
		{"8", "cpu", 8000},
		{"500m", "cpu", 500},
		{"0.5", "cpu", 500},
		{"0.1m", "cpu", 1},
		{"32Gi", "memory", 32 << 30},
		{"1.5Ki", "memory", 1536},
		{"2k", "memory", 2000},
		{"1m", "memory", 1},
		{"4", "nvidia.com/gpu", 4},
		{"9999999Ei", "memory", math.MaxInt64},
		{"0", "memory", 0},
		{"many", "memory", 0},
		{"", "memory", 0},
	} {
		if got := test.quantity.In(test.resource); got != test.want {
			t.Errorf("%q of %s = %d, want %d", test.quantity, test.resource, got, test.want)
		}
	}
}

func FuzzQuantity(f *testing.F) {
	for _, seed := range []string{"8", "500m", "1.5Gi", "9999999Ei", "-1", "1e3", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var q config.Quantity
		if err := q.UnmarshalText([]byte(text)); err != nil {
			return
		}
		if len(text) > 1000 {
			return
		}
		if amount := q.In("cpu"); amount < 0 {
			t.Errorf("%q = %d, below zero", text, amount)
		}
	})
}
