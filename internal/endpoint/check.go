package endpoint

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// Limits on a spec, all inclusive.
const (
	// MaxReplicas is over all regions.
	MaxReplicas     = 1000
	MaxRegions      = 256
	MaxDrainTime    = time.Hour
	MaxReadyTimeout = 24 * time.Hour
	// MaxSpec is the size of a spec as JSON: an endpoint keeps several.
	MaxSpec = 16 << 10
	// maxWords bounds the parts of a command, and the entries of a map.
	maxWords = 256
)

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	modelName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9._/]{0,126}[a-z0-9])?@[A-Za-z0-9]([-A-Za-z0-9._]{0,62}[A-Za-z0-9])?$`)
	metricName   = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]{0,127}$`)
	healthPath   = regexp.MustCompile(`^/[\x21-\x7e]{0,255}$`)
)

// reserved begins the names of variables that GCO sets.
const reserved = "GCO_"

// ValidName tells whether name can name an endpoint: a DNS label.
func ValidName(name string) bool { return job.ValidRegionName(name) }

// ValidateName lists what is wrong with the name of an endpoint.
func ValidateName(name string) []job.Fault {
	if ValidName(name) {
		return nil
	}
	return []job.Fault{{Field: "name", Message: fmt.Sprintf("%q is not a DNS label (lower-case letters, digits and '-', at most 63)", shorten(name))}}
}

// checker gathers the faults of a spec.
type checker struct{ faults []job.Fault }

func (c *checker) check(ok bool, field, format string, args ...any) {
	if !ok {
		c.faults = append(c.faults, job.Fault{Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

func (c *checker) whole(n, least, most int, field string) {
	c.check(n >= least && n <= most, field, "%d is outside %d to %d", n, least, most)
}

func (c *checker) duration(d, least, most time.Duration, field string) {
	c.check(d >= least && d <= most, field, "%s is outside %s to %s", d, least, most)
}

// number also refuses what is no number.
func (c *checker) number(n, least, most float64, field string) {
	c.check(n >= least && n <= most, field, "%v is outside %v to %v", n, least, most)
}

// Validate lists every fault of a spec with its defaults, with field paths as
// in the API.
func (s *Spec) Validate() []job.Fault {
	c := &checker{}
	c.container(s.Container)
	c.replicas(s)
	c.regions("regions.names", s.Regions.Names)
	if len(s.Regions.Names) > 0 {
		c.check(s.Regions.Count == 0, "regions.count", "is for endpoints without a list of regions")
	} else {
		c.whole(s.Regions.Count, 1, MaxRegions, "regions.count")
	}
	c.duration(s.DrainTime, 0, MaxDrainTime, "drainTime")
	c.duration(s.ReadyTimeout, time.Second, MaxReadyTimeout, "readyTimeout")
	c.canary(s)
	c.limits(s.Limits)
	c.check(len(s.ModelNames) <= maxWords, "modelNames", "%d names; at most %d are allowed", len(s.ModelNames), maxWords)
	for _, name := range slices.Sorted(maps.Keys(s.ModelNames)) {
		c.check(name != "" && s.ModelNames[name] != "", "modelNames["+shorten(name)+"]", "is empty on one side")
	}
	if text, err := json.Marshal(s); err != nil || len(text) > MaxSpec {
		c.check(false, "", "the whole is over the limit of %d bytes; large data belong into a model", MaxSpec)
	}
	return c.faults
}

func (c *checker) container(of Container) {
	c.check(of.Image != "" && len(of.Image) <= 512 && !strings.ContainsAny(of.Image, " \t\r\n"), "image", "%q is not the name of an image", shorten(of.Image))
	c.words("command", of.Command)
	c.words("args", of.Args)
	c.check(len(of.Env) <= maxWords, "env", "%d variables; at most %d are allowed", len(of.Env), maxWords)
	for _, name := range slices.Sorted(maps.Keys(of.Env)) {
		field := "env[" + shorten(name) + "]"
		c.check(variableName.MatchString(name), field, "is not the name of a variable")
		c.check(!strings.HasPrefix(name, reserved) && name != "PORT", field, "is set by GCO")
		c.check(!strings.Contains(of.Env[name], "\x00"), field, "has a NUL byte")
	}
	c.whole(of.Port, 1, 65535, "port")
	_, faults := of.requests()
	c.faults = append(c.faults, faults...)
	c.check(of.Model == "" || modelName.MatchString(of.Model), "model", "%q is not NAME@VERSION or NAME@TAG", shorten(of.Model))
	c.check(healthPath.MatchString(of.HealthPath), "healthPath", "%q is not a path, such as /healthz", shorten(of.HealthPath))
	c.check(of.CapacityType == "" || of.CapacityType == capacity.OnDemand || of.CapacityType == capacity.Spot,
		"capacityType", "%q is not one of on-demand, spot", shorten(string(of.CapacityType)))
}

func (c *checker) words(field string, words []string) {
	c.check(len(words) <= maxWords, field, "%d parts; at most %d are allowed", len(words), maxWords)
	for i, word := range words {
		c.check(!strings.Contains(word, "\x00"), fmt.Sprintf("%s[%d]", field, i), "has a NUL byte")
	}
}

func (c *checker) replicas(s *Spec) {
	a := s.Autoscaling
	if a == nil {
		c.whole(s.Replicas, 1, MaxReplicas, "replicas")
		return
	}
	c.check(s.Replicas == 0, "replicas", "is decided by autoscaling; leave it out")
	c.whole(a.Min, 0, MaxReplicas, "autoscaling.min")
	c.whole(a.Max, max(a.Min, 1), MaxReplicas, "autoscaling.max")
	c.check(slices.Contains(Metrics, a.Metric), "autoscaling.metric", "%q is not one of concurrency, requests, gauge", shorten(string(a.Metric)))
	c.check(a.Target > 0 && a.Target <= 1e9, "autoscaling.target", "%v is not above 0 and at most 1e9", a.Target)
	if a.Metric == Gauge {
		c.check(metricName.MatchString(a.Gauge), "autoscaling.gauge", "%q is not the name of a metric", shorten(a.Gauge))
	} else {
		c.check(a.Gauge == "", "autoscaling.gauge", "is only for the metric gauge")
	}
	c.duration(a.Window, time.Second, time.Hour, "autoscaling.window")
	c.duration(a.ScaleDownDelay, 0, 24*time.Hour, "autoscaling.scaleDownDelay")
	c.duration(a.IdleTime, time.Second, 24*time.Hour, "autoscaling.idleTime")
}

func (c *checker) regions(field string, names []string) {
	if len(names) > MaxRegions {
		c.check(false, field, "%d regions; at most %d are allowed", len(names), MaxRegions)
		return
	}
	for i, name := range names {
		at := fmt.Sprintf("%s[%d]", field, i)
		c.check(job.ValidRegionName(name), at, "%q is not a region name (a DNS label)", shorten(name))
		c.check(slices.Index(names, name) == i, at, "%q is listed twice", shorten(name))
	}
}

func (c *checker) canary(s *Spec) {
	if s.Canary == nil {
		return
	}
	c.whole(s.Canary.first(), 1, 99, "canary.weight")
	c.regions("canary.regions", s.Canary.Regions)
	if len(s.Regions.Names) > 0 {
		for i, name := range s.Canary.Regions {
			c.check(slices.Contains(s.Regions.Names, name), fmt.Sprintf("canary.regions[%d]", i), "%q is not one of the endpoint's regions", shorten(name))
		}
	}
	c.check(len(s.Canary.Steps) <= 100, "canary.steps", "%d steps; at most 100 are allowed", len(s.Canary.Steps))
	for i, step := range s.Canary.Steps {
		c.check(step >= 1 && step <= 100 && (i == 0 || step > s.Canary.Steps[i-1]),
			fmt.Sprintf("canary.steps[%d]", i), "%d is not a percentage above the one before", step)
	}
	if a := s.Canary.Analysis; a != nil {
		c.duration(a.Window, time.Second, 24*time.Hour, "canary.analysis.window")
		c.whole(a.MinRequests, 1, 1e9, "canary.analysis.minRequests")
		c.number(a.MaxErrorRate, 0, 1, "canary.analysis.maxErrorRate")
		c.number(a.MaxLatencyRatio, 1, 1000, "canary.analysis.maxLatencyRatio")
		c.check(len(a.Percentiles) <= 10, "canary.analysis.percentiles", "%d of them; at most 10 are allowed", len(a.Percentiles))
		for i, p := range a.Percentiles {
			c.check(p > 0 && p < 100, fmt.Sprintf("canary.analysis.percentiles[%d]", i), "%v is not between 0 and 100", p)
		}
	}
}

func (c *checker) limits(l Limits) {
	c.number(l.RequestsPerSecond, 0, 1e9, "limits.requestsPerSecond")
	c.whole(l.Concurrent, 0, 1e9, "limits.concurrent")
	c.check(l.BodyBytes >= 0 && l.BodyBytes <= 1<<40, "limits.bodyBytes", "%d is outside 0 to %d", l.BodyBytes, int64(1)<<40)
}

// shorten keeps what a user wrote from filling an answer.
func shorten(text string) string {
	const most = 100
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
