package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/model"
)

// ownPrefix begins the names of annotations and labels that are GCO's own.
const ownPrefix = "gco.dev/"

// The limits of a job.Spec on a price per hour and on a list of regions.
const (
	maxPrice   = 1e9
	maxRegions = 256
)

// Options are what the manifest's annotations ask of GCO. A field is nil
// where its annotation is not there, or is at fault.
type Options struct {
	Priority, Retries                             *int
	Deadline, TTLAfterFinished, OnRegionLostLimit *time.Duration
	OnRegionLost                                  *job.OnRegionLost
	Regions, AvoidRegions                         []string
	CapacityType                                  *capacity.Type
	// MaxPricePerHour is for the whole demand, in the currency of the
	// configured prices.
	MaxPricePerHour *float64
	// Model is a reference to a model, as it was written.
	Model *string
}

// optionSetters has every annotation by the part of its name after ownPrefix.
// A setter's error is the message for the user.
var optionSetters = map[string]func(*Options, string) error{
	"priority":             func(o *Options, text string) error { return setInt(&o.Priority, text, job.MaxPriority) },
	"retries":              func(o *Options, text string) error { return setInt(&o.Retries, text, job.MaxRetries) },
	"deadline":             func(o *Options, text string) error { return setDuration(&o.Deadline, text) },
	"ttl-after-finished":   func(o *Options, text string) error { return setDuration(&o.TTLAfterFinished, text) },
	"on-region-lost-limit": func(o *Options, text string) error { return setDuration(&o.OnRegionLostLimit, text) },
	"on-region-lost": func(o *Options, text string) error {
		return setChoice(&o.OnRegionLost, text, job.Requeue, job.Fail, job.Wait)
	},
	"regions":       func(o *Options, text string) error { return setRegions(&o.Regions, text) },
	"avoid-regions": func(o *Options, text string) error { return setRegions(&o.AvoidRegions, text) },
	"capacity-type": func(o *Options, text string) error {
		return setChoice(&o.CapacityType, text, capacity.OnDemand, capacity.Spot)
	},
	"model":              func(o *Options, text string) error { return setModel(&o.Model, text) },
	"max-price-per-hour": func(o *Options, text string) error { return setPrice(&o.MaxPricePerHour, text) },
}

// options reads the annotations under ownPrefix.
func (c *compiler) options(j *batchv1.Job) Options {
	var out Options
	defer c.sortFrom(len(c.semantic))
	for key, text := range j.Annotations {
		name, own := strings.CutPrefix(key, ownPrefix)
		if !own || c.full() {
			continue
		}
		if set, known := optionSetters[name]; !known {
			c.add(annotationPath(key), "is no annotation of GCO%s", didYouMean(ownPrefix, name, slices.Sorted(maps.Keys(optionSetters))))
		} else if err := set(&out, text); err != nil {
			c.add(annotationPath(key), "%s", err)
		}
	}
	return out
}

func annotationPath(key string) *field.Path { return root.Child("metadata", "annotations").Key(key) }

func setInt(to **int, text string, most int) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		return fmt.Errorf("is %s, must be a whole number from 0 to %d", quoted(text), most)
	}
	*to = &n
	return nil
}

func setDuration(to **time.Duration, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > job.MaxDuration {
		return fmt.Errorf("is %s, must be a duration such as 90s or 1h30m, above 0 and at most %d days", quoted(text), job.MaxDuration/(24*time.Hour))
	}
	*to = &d
	return nil
}

func setChoice[T ~string](to **T, text string, choices ...T) error {
	choice := T(text)
	if !slices.Contains(choices, choice) {
		return fmt.Errorf("is %s, must be %s", quoted(text), oneOf(choices...))
	}
	*to = &choice
	return nil
}

func setRegions(to *[]string, text string) error {
	if n := strings.Count(text, ",") + 1; n > maxRegions {
		return fmt.Errorf("names %d regions; at most %d are allowed", n, maxRegions)
	}
	var regions []string
	for part := range strings.SplitSeq(text, ",") {
		region := strings.TrimSpace(part)
		switch {
		case !job.ValidRegionName(region):
			return fmt.Errorf("names %s, which is no region name; list regions with commas, such as us-east-1,eu-west-1", quoted(region))
		case slices.Contains(regions, region):
			return fmt.Errorf("names %s twice", quoted(region))
		}
		regions = append(regions, region)
	}
	*to = regions
	return nil
}

func setPrice(to **float64, text string) error {
	price, err := strconv.ParseFloat(text, 64)
	// The negated form also refuses NaN.
	if err != nil || !(price > 0 && price <= maxPrice) {
		return fmt.Errorf("is %s, must be a number above 0 and at most %g", quoted(text), maxPrice)
	}
	*to = &price
	return nil
}

func setModel(to **string, text string) error {
	if _, err := model.ParseRef(text); err != nil {
		return fmt.Errorf("is %s, must name a model, such as llama, llama@3 or llama@prod", quoted(text))
	}
	*to = &text
	return nil
}

// oneOf lists choices for a message.
func oneOf[T ~string](choices ...T) string {
	texts := make([]string, len(choices))
	for i, choice := range choices {
		texts[i] = string(choice)
	}
	if len(texts) == 1 {
		return texts[0]
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " or " + texts[len(texts)-1]
}
