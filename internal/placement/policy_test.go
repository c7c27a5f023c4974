package placement

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
)

func TestDefaultPolicyIsValid(t *testing.T) {
	if faults := DefaultPolicy().Validate(); faults != nil {
		t.Errorf("faults: %v", faults)
	}
}

func TestPolicyFaults(t *testing.T) {
	policy := DefaultPolicy()
	policy.Weights.Price = -1
	policy.Weights.Locality = math.NaN()
	policy.ReserveAfter = -time.Second
	policy.ProvisionTime = 25 * time.Hour
	var fields []string
	for _, fault := range policy.Validate() {
		fields = append(fields, fault.Field)
	}
	want := "placement.weights.price placement.weights.locality placement.reserveAfter placement.provisionTime"
	if got := strings.Join(fields, " "); got != want {
		t.Errorf("faults in %s\nwant %s", got, want)
	}
	policy = DefaultPolicy()
	policy.Weights = Weights{}
	if faults := policy.Validate(); len(faults) != 1 || faults[0].Field != "placement.weights" {
		t.Errorf("no weight at all: %v", faults)
	}
}

func TestPerHour(t *testing.T) {
	cheap := 0.5
	prices := Prices{
		"cpu": {OnDemand: 0.04, Spot: new(float64)}, "memory": {OnDemand: 0.005}, gpu: {OnDemand: 2.5, Spot: &cheap},
		"ephemeral-storage": {OnDemand: 0.001},
	}
	tests := []struct {
		name   string
		demand capacity.Demand
		market capacity.Type
		price  float64
		known  bool
	}{
		{"cores", podsOf(1, capacity.Resources{"cpu": 2500}), capacity.OnDemand, 0.1, true},
		{"GiB", podsOf(1, capacity.Resources{"memory": 3 << 29}), capacity.OnDemand, 0.0075, true},
		{"pieces times pods", podsOf(3, capacity.Resources{gpu: 2}), capacity.OnDemand, 15, true},
		{"either market costs on-demand", podsOf(1, capacity.Resources{gpu: 1}), "", 2.5, true},
		{"spot", podsOf(2, capacity.Resources{gpu: 1, "cpu": 1000}), capacity.Spot, 1, true},
		{"spot that is not sold", podsOf(1, capacity.Resources{gpu: 1, "memory": 1 << 30}), capacity.Spot, 0, false},
		{"one price missing", podsOf(1, capacity.Resources{gpu: 1, "aws.amazon.com/neuron": 1}), capacity.OnDemand, 0, false},
		{"places for pods are free", podsOf(1, capacity.Resources{"cpu": 1000, "pods": 1}), capacity.OnDemand, 0.04, true},
		{"several groups", capacity.Demand{Pods: append(gpuPods(1, 1).Pods, podsOf(2, capacity.Resources{"ephemeral-storage": 10 << 30}).Pods...)}, capacity.OnDemand, 2.56, true},
		{"nothing", capacity.Demand{}, capacity.OnDemand, 0, true},
	}
	for _, test := range tests {
		price, known := prices.PerHour(test.demand, test.market)
		if math.Abs(price-test.price) > 1e-12 || known != test.known {
			t.Errorf("%s: %v, %v; want %v, %v", test.name, price, known, test.price, test.known)
		}
	}
	if _, known := Prices(nil).PerHour(gpuPods(1, 1), capacity.OnDemand); known {
		t.Error("a region without prices has a known price")
	}
}

func TestPriceFaults(t *testing.T) {
	wrong := math.Inf(1)
	prices := Prices{"cpu": {OnDemand: -1}, gpu: {OnDemand: 1, Spot: &wrong}, "memory": {OnDemand: 0}}
	var fields []string
	for _, fault := range prices.Validate("regions.a.prices") {
		fields = append(fields, fault.Field)
	}
	if got, want := strings.Join(fields, " "), "regions.a.prices.cpu.onDemand regions.a.prices.nvidia.com/gpu.spot"; got != want {
		t.Errorf("faults in %s, want %s", got, want)
	}
}
