package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
)

// The defaults that gco.yaml documents are those of the packages that use
// them.
func TestDefaultsAreThoseOfTheirPackages(t *testing.T) {
	c := config.Default()
	production := timing(c.Timing.Or(config.TimingInProduction))
	production.Tick = queue.DefaultTiming.Tick
	if production != queue.DefaultTiming {
		t.Errorf("timing in production = %+v, want %+v", production, queue.DefaultTiming)
	}
	laptop := timing(c.Timing.Or(config.TimingOnLaptop))
	laptop.Tick = queue.LocalTiming.Tick
	if laptop != queue.LocalTiming {
		t.Errorf("timing on a laptop = %+v, want %+v", laptop, queue.LocalTiming)
	}
	if got := queue.Limits(c.Limits); got != queue.DefaultLimits {
		t.Errorf("limits = %+v, want %+v", got, queue.DefaultLimits)
	}
	if got := manifest.Policy(c.Policy); !reflect.DeepEqual(got, manifest.DefaultPolicy()) {
		t.Errorf("policy = %+v, want %+v", got, manifest.DefaultPolicy())
	}
	if got := placementPolicy(c); got != placement.DefaultPolicy() {
		t.Errorf("placement = %+v, want %+v", got, placement.DefaultPolicy())
	}
}

func TestLoadConfigNamesFaultsOfEverySection(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gco.yaml")
	text := "policy: {allowedNamespaces: [], maxCPU: lots}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := LoadConfig(file)
	if _, ok := errors.AsType[*config.Invalid](err); !ok {
		t.Fatalf("LoadConfig: %v, want *config.Invalid", err)
	}
	for _, part := range []string{"policy.allowedNamespaces", "policy.maxCPU"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %s", err, part)
		}
	}
}

func TestNodes(t *testing.T) {
	region := config.Region{Nodes: []config.Node{{
		Count:     2,
		Resources: map[string]config.Quantity{"cpu": "8", "memory": "1Gi", "nvidia.com/gpu": "4"},
		Taints:    []config.Taint{{Key: "dedicated", Effect: "NoSchedule"}},
	}}}
	shapes := nodes(region)
	if len(shapes) != 1 || shapes[0].Count != 2 || shapes[0].Architecture == "" || len(shapes[0].Taints) != 1 {
		t.Fatalf("nodes = %+v", shapes)
	}
	want := capacity.Resources{"cpu": 8000, "memory": 1 << 30, "nvidia.com/gpu": 4}
	if !shapes[0].Total.Equal(want) || !shapes[0].Free.Equal(want) {
		t.Errorf("total %v, free %v, want both %v", shapes[0].Total, shapes[0].Free, want)
	}
}
