package endpoint

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestValidate alters one field of a valid spec at a time: each fault names
// the field, and several come together.
func TestValidate(t *testing.T) {
	tests := []struct {
		field string
		alter func(*Spec)
	}{
		{"image", func(s *Spec) { s.Image = "" }},
		{"image", func(s *Spec) { s.Image = "with space" }},
		{"port", func(s *Spec) { s.Port = 65536 }},
		{"resources.cpu", func(s *Spec) { s.Resources = map[string]string{"cpu": "many"} }},
		{"resources.memory", func(s *Spec) { s.Resources = map[string]string{"memory": "0.5"} }},
		{"resources.cpu", func(s *Spec) { s.Resources = map[string]string{"cpu": "-1"} }},
		{"env[GCO_X]", func(s *Spec) { s.Env = map[string]string{"GCO_X": "1"} }},
		{"env[PORT]", func(s *Spec) { s.Env = map[string]string{"PORT": "1"} }},
		{"env[a b]", func(s *Spec) { s.Env = map[string]string{"a b": "1"} }},
		{"args[1]", func(s *Spec) { s.Args = []string{"a", "\x00"} }},
		{"model", func(s *Spec) { s.Model = "llm" }},
		{"healthPath", func(s *Spec) { s.HealthPath = "healthz" }},
		{"capacityType", func(s *Spec) { s.CapacityType = "cheap" }},
		{"replicas", func(s *Spec) { s.Replicas = 1001 }},
		{"replicas", func(s *Spec) { s.Autoscaling = scaling(nil) }},
		{"autoscaling.min", func(s *Spec) { s.Replicas, s.Autoscaling = 0, scaling(func(a *Autoscaling) { a.Min = -1 }) }},
		{"autoscaling.max", func(s *Spec) { s.Replicas, s.Autoscaling = 0, scaling(func(a *Autoscaling) { a.Min = 5 }) }},
		{"autoscaling.target", func(s *Spec) { s.Replicas, s.Autoscaling = 0, scaling(func(a *Autoscaling) { a.Target = 0 }) }},
		{"autoscaling.metric", func(s *Spec) { s.Replicas, s.Autoscaling = 0, scaling(func(a *Autoscaling) { a.Metric = "mood" }) }},
		{"autoscaling.gauge", func(s *Spec) { s.Replicas, s.Autoscaling = 0, scaling(func(a *Autoscaling) { a.Metric = Gauge }) }},
		{"autoscaling.window", func(s *Spec) { s.Replicas, s.Autoscaling = 0, scaling(func(a *Autoscaling) { a.Window = 1 }) }},
		{"regions.names[1]", func(s *Spec) { s.Regions.Names = []string{"a", "a"} }},
		{"regions.count", func(s *Spec) { s.Regions.Count = 1 }},
		{"drainTime", func(s *Spec) { s.DrainTime = -1 }},
		{"readyTimeout", func(s *Spec) { s.ReadyTimeout = 25 * time.Hour }},
		{"canary.weight", func(s *Spec) { s.Canary = &CanaryPolicy{Weight: 100, Steps: []int{1}} }},
		{"canary.regions[0]", func(s *Spec) { s.Canary = &CanaryPolicy{Weight: 1, Regions: []string{"z"}} }},
		{"canary.steps[1]", func(s *Spec) { s.Canary = &CanaryPolicy{Steps: []int{5, 5}} }},
		{"canary.analysis.maxErrorRate", func(s *Spec) { s.Canary = &CanaryPolicy{Weight: 1, Analysis: &Analysis{MaxErrorRate: 2}} }},
		{"canary.analysis.percentiles[0]", func(s *Spec) { s.Canary = &CanaryPolicy{Weight: 1, Analysis: &Analysis{Percentiles: []float64{100}}} }},
		{"limits.concurrent", func(s *Spec) { s.Limits.Concurrent = -1 }},
		{"limits.bodyBytes", func(s *Spec) { s.Limits.BodyBytes = -1 }},
		{"modelNames[]", func(s *Spec) { s.ModelNames = map[string]string{"": "x"} }},
		{"", func(s *Spec) { s.Args = []string{strings.Repeat("x", MaxSpec)} }},
	}
	for _, test := range tests {
		spec := valid()
		test.alter(&spec)
		spec = spec.WithDefaults()
		var fields []string
		for _, fault := range spec.Validate() {
			fields = append(fields, fault.Field)
		}
		if !slices.Contains(fields, test.field) || len(fields) > 2 {
			t.Errorf("faults in %q instead of %q", fields, test.field)
		}
	}
	spec := valid().WithDefaults()
	if faults := spec.Validate(); len(faults) > 0 {
		t.Errorf("a valid spec has faults: %v", faults)
	}
	spec.Port, spec.Image, spec.DrainTime = 0, "", -1
	if faults := spec.Validate(); len(faults) != 3 {
		t.Errorf("three faults are %v", faults)
	}
}

func valid() Spec {
	return Spec{Container: Container{Image: "echo", Port: 80}, Regions: Regions{Names: []string{"a"}}, Replicas: 1}
}

func scaling(alter func(*Autoscaling)) *Autoscaling {
	a := &Autoscaling{Max: 3, Target: 1}
	if alter != nil {
		alter(a)
	}
	return a
}

func TestEdits(t *testing.T) {
	e := New("uid", "chat", valid().WithDefaults(), "someone", start)
	later := start.Add(time.Hour)
	spec := e.Spec
	spec.Limits.Concurrent = 5
	same, err := e.Update(spec, "other", later)
	if err != nil || same.Revision != 1 || len(same.Revisions) != 1 || same.Version != 2 || same.UpdatedBy != "other" {
		t.Errorf("limits made %+v, %v", same, err)
	}
	for i := range 2 * KeepRevisions {
		spec.Image += "x"
		if e, err = e.Update(spec, "someone", later); err != nil || e.Revision != i+2 {
			t.Fatalf("update %d: revision %d, %v", i, e.Revision, err)
		}
	}
	if len(e.Revisions) != KeepRevisions || e.Revisions[0].Number != e.Revision {
		t.Errorf("%d revisions, the newest %d", len(e.Revisions), e.Revisions[0].Number)
	}
	if _, err := e.Rollback(1, "someone", "", later); err == nil {
		t.Error("a forgotten revision came back")
	}
	back, err := e.Rollback(0, "someone", "", later)
	if err != nil || back.Revision != e.Revision-1 || back.Spec.Image != back.Revisions[1].Container.Image {
		t.Errorf("back to %d, %v", back.Revision, err)
	}
	deleting, err := e.Delete("someone", later)
	if err != nil || !deleting.Deleting {
		t.Fatal(err)
	}
	if _, err := deleting.Update(spec, "someone", later); err == nil {
		t.Error("a deleted endpoint was updated")
	}
	if _, err := e.Promote("someone", "", later); err == nil {
		t.Error("nothing was promoted")
	}
	spec.Autoscaling, spec.Replicas = scaling(nil), 0
	if e, err = e.Update(spec, "someone", later); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Scale(3, "someone", later); err == nil {
		t.Error("an autoscaled endpoint was scaled")
	}
}
