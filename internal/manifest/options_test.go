package manifest_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
)

func annotated(t *testing.T, annotations map[string]string) (manifest.Compiled, []job.Fault) {
	t.Helper()
	j := decoded(t)
	at(t, j, "metadata").(tree)["annotations"] = annotations
	return manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
}

func TestOptions(t *testing.T) {
	out, faults := annotated(t, map[string]string{
		"gco.dev/priority": "10", "gco.dev/retries": "0", "gco.dev/deadline": "1h30m", "gco.dev/ttl-after-finished": "24h",
		"gco.dev/on-region-lost": "wait", "gco.dev/on-region-lost-limit": "10m", "gco.dev/regions": "us-east-1, eu-west-1",
		"gco.dev/avoid-regions": "ap-south-1", "gco.dev/capacity-type": "spot", "gco.dev/max-price-per-hour": "2.5",
		"gco.dev/model":     "llama@prod",
		"example.com/other": "anything",
	})
	if len(faults) > 0 {
		t.Fatal(faultLines(faults))
	}
	want := manifest.Options{
		Priority: new(10), Retries: new(0), Deadline: new(90 * time.Minute), TTLAfterFinished: new(24 * time.Hour),
		OnRegionLost: new(job.Wait), OnRegionLostLimit: new(10 * time.Minute), Regions: []string{"us-east-1", "eu-west-1"},
		AvoidRegions: []string{"ap-south-1"}, CapacityType: new(capacity.Spot), MaxPricePerHour: new(2.5), Model: new("llama@prod"),
	}
	if !reflect.DeepEqual(out.Options, want) {
		t.Errorf("options are %+v", out.Options)
	}
	none, _ := annotated(t, nil)
	if !reflect.DeepEqual(none.Options, manifest.Options{}) {
		t.Errorf("options of a manifest without annotations are %+v", none.Options)
	}
}

func TestOptionsAtFault(t *testing.T) {
	for _, c := range []struct{ key, value, text string }{
		{"priority", "high", "whole number from 0 to 1000"},
		{"priority", "-1", "whole number from 0 to 1000"},
		{"priority", "1001", "whole number from 0 to 1000"},
		{"priority", "1.5", "whole number"},
		{"priority", "", "whole number"},
		{"retries", "101", "from 0 to 100"},
		{"deadline", "90", "such as 90s"},
		{"deadline", "0s", "above 0"},
		{"deadline", "-1h", "above 0"},
		{"deadline", "8785h", "366 days"},
		{"ttl-after-finished", "7d", "such as 90s"},
		{"on-region-lost-limit", "soon", "such as 90s"},
		{"on-region-lost", "Requeue", "requeue, fail or wait"},
		{"capacity-type", "on_demand", "on-demand or spot"},
		{"regions", "", "no region name"},
		{"model", "Llama@1", "such as llama, llama@3 or llama@prod"},
		{"regions", "us-east-1,,eu-west-1", "no region name"},
		{"regions", "us-east-1;eu-west-1", "no region name"},
		{"regions", "us-east-1,us-east-1", "twice"},
		{"avoid-regions", "US", "no region name"},
		{"max-price-per-hour", "cheap", "a number above 0"},
		{"max-price-per-hour", "0", "a number above 0"},
		{"max-price-per-hour", "NaN", "a number above 0"},
		{"max-price-per-hour", "Inf", "a number above 0"},
		{"priorty", "1", "did you mean gco.dev/priority?"},
		{"Retries", "1", "did you mean gco.dev/retries?"},
		{"region", "us-east-1", "did you mean gco.dev/regions?"},
		{"max-price", "1", "did you mean gco.dev/max-price-per-hour?"},
		{"onRegionLost", "fail", "did you mean gco.dev/on-region-lost?"},
		{"unheard-of", "1", "no annotation of GCO"},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			out, faults := annotated(t, map[string]string{"gco.dev/" + c.key: c.value})
			wantFault(t, faults, "manifest.metadata.annotations[gco.dev/"+c.key+"]", c.text)
			if len(faults) != 1 || !reflect.DeepEqual(out.Options, manifest.Options{}) {
				t.Errorf("options are %+v, %s", out.Options, faultLines(faults))
			}
		})
	}
}
