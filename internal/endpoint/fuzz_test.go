package endpoint

import (
	"encoding/json"
	"testing"
)

// FuzzSpec reads specs of all kinds: whatever has no faults can be used.
func FuzzSpec(f *testing.F) {
	for _, seed := range []string{
		`{"image":"echo","port":80}`,
		`{"image":"echo","port":80,"resources":{"cpu":"500m","memory":"1Gi","nvidia.com/gpu":"1"},"regions":{"count":3}}`,
		`{"image":"echo","port":80,"autoscaling":{"min":0,"max":9,"target":1},"canary":{"steps":[1,100],"analysis":{}}}`,
		`{"image":"echo","port":-1,"resources":{"cpu":"1e300","memory":"0.5"},"replicas":-1,"canary":{"steps":[]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var spec Spec
		if json.Unmarshal(text, &spec) != nil {
			return
		}
		spec = spec.WithDefaults()
		if len(spec.Validate()) > 0 {
			return
		}
		if spec.Most() < 1 || spec.Least() > spec.Most() {
			t.Errorf("from %d to %d replicas", spec.Least(), spec.Most())
		}
		for name, amount := range spec.Demand(1).Total() {
			if amount < 0 {
				t.Errorf("%d of %s", amount, name)
			}
		}
		if again := spec.WithDefaults(); len(again.Validate()) > 0 || !again.Same(spec) {
			t.Error("the defaults of a spec with its defaults are others")
		}
	})
}
