package endpoint

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
)

// What a spec has where nothing is said.
const (
	DefaultHealthPath   = "/healthz"
	DefaultReplicas     = 1
	DefaultDrainTime    = 30 * time.Second
	DefaultReadyTimeout = 10 * time.Minute
	DefaultBody         = 64 << 20
)

// Spec is what a user wants of an endpoint.
type Spec struct {
	// Container is what makes a revision; a change of anything else does not.
	Container
	// Replicas is how many there are over all regions; 0 with Autoscaling.
	Replicas    int          `json:"replicas,omitempty"`
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	Regions     Regions      `json:"regions"`
	// DrainTime is how long a replica that is to go may take to answer what it
	// has begun to answer.
	DrainTime time.Duration `json:"drainTime"`
	// ReadyTimeout is how long a revision may take to become ready.
	ReadyTimeout time.Duration `json:"readyTimeout"`
	Canary       *CanaryPolicy `json:"canary,omitempty"`
	Limits       Limits        `json:"limits"`
	// ModelNames maps a model's name in an OpenAI-compatible request to the
	// one that the replicas know.
	ModelNames map[string]string `json:"modelNames,omitempty"`
}

// Container is what one replica is.
type Container struct {
	Image   string            `json:"image"`
	Command []string          `json:"command,omitempty"`
	Args    []string          `json:"args,omitempty"`
	Env     map[string]string `json:"env,omitempty"`
	// Port is where it listens. A runtime without a network for each replica
	// gives it another, in the environment variable PORT.
	Port int `json:"port"`
	// Resources by name, in Kubernetes quantities.
	Resources map[string]string `json:"resources,omitempty"`
	// Model is NAME@VERSION or NAME@TAG of the registry, or empty.
	Model string `json:"model,omitempty"`
	// HealthPath is answered with a status below 400 by a replica that is
	// ready.
	HealthPath string `json:"healthPath"`
	// CapacityType is the market that it runs on; empty is any.
	CapacityType capacity.Type `json:"capacityType,omitempty"`
}

// Regions says where an endpoint is: in the regions of a list, or in a number
// of regions chosen by capacity and price.
type Regions struct {
	Names []string `json:"names,omitempty"`
	Count int      `json:"count,omitempty"`
}

func (r Regions) same(other Regions) bool {
	return r.Count == other.Count && slices.Equal(r.Names, other.Names)
}

// Metric is what autoscaling goes by.
type Metric string

// The metrics, each for one replica.
const (
	// Concurrency: requests at the same time.
	Concurrency Metric = "concurrency"
	// Requests: requests a second.
	Requests Metric = "requests"
	// Gauge: a metric that the replicas export, by name.
	Gauge Metric = "gauge"
)

// Metrics lists all.
var Metrics = []Metric{Concurrency, Requests, Gauge}

// Autoscaling keeps a metric near its target. Min 0 lets an idle endpoint have
// no replicas until the next request.
type Autoscaling struct {
	Min    int     `json:"min"`
	Max    int     `json:"max"`
	Metric Metric  `json:"metric"`
	Target float64 `json:"target"`
	// Gauge is the name of the metric, for the metric gauge.
	Gauge string `json:"gauge,omitempty"`
	// Window is the time over which the metric is averaged, ScaleDownDelay how
	// long fewer replicas must have been enough before there are fewer, and
	// IdleTime how long there must have been no request before there are none.
	Window         time.Duration `json:"window"`
	ScaleDownDelay time.Duration `json:"scaleDownDelay"`
	IdleTime       time.Duration `json:"idleTime"`
}

// CanaryPolicy says how a new revision is tried. Without Analysis, only users
// change its weight.
type CanaryPolicy struct {
	// Weight is its share at first, in percent; 0 is the first of Steps.
	Weight int `json:"weight,omitempty"`
	// Regions are those of the trial; none is all of the endpoint's.
	Regions []string `json:"regions,omitempty"`
	// Steps are the shares that it goes through, in percent; 100 promotes it.
	Steps    []int     `json:"steps,omitempty"`
	Analysis *Analysis `json:"analysis,omitempty"`
}

func (c *CanaryPolicy) first() int {
	if c.Weight == 0 && len(c.Steps) > 0 {
		return c.Steps[0]
	}
	return c.Weight
}

// Analysis compares a canary with the revision that serves, over a window.
type Analysis struct {
	Window time.Duration `json:"window"`
	// MinRequests is how many the canary must have answered within the window.
	MinRequests int `json:"minRequests"`
	// MaxErrorRate is how much higher its share of errors may be, from 0 to 1.
	MaxErrorRate float64 `json:"maxErrorRate"`
	// MaxLatencyRatio is how many times as slow each of Percentiles may be.
	MaxLatencyRatio float64   `json:"maxLatencyRatio"`
	Percentiles     []float64 `json:"percentiles"`
}

// Limits bound what one endpoint takes, at each gateway. 0 is no limit.
type Limits struct {
	RequestsPerSecond float64 `json:"requestsPerSecond,omitempty"`
	Concurrent        int     `json:"concurrent,omitempty"`
	BodyBytes         int64   `json:"bodyBytes,omitempty"`
	// TokenRequired refuses requests without a token that may invoke it.
	TokenRequired bool `json:"tokenRequired,omitempty"`
}

// WithDefaults fills what the user left out.
func (s Spec) WithDefaults() Spec {
	s.HealthPath = cmp.Or(s.HealthPath, DefaultHealthPath)
	s.DrainTime = cmp.Or(s.DrainTime, DefaultDrainTime)
	s.ReadyTimeout = cmp.Or(s.ReadyTimeout, DefaultReadyTimeout)
	s.Limits.BodyBytes = cmp.Or(s.Limits.BodyBytes, DefaultBody)
	if len(s.Regions.Names) == 0 {
		s.Regions.Count = cmp.Or(s.Regions.Count, 1)
	}
	if s.Autoscaling == nil {
		s.Replicas = cmp.Or(s.Replicas, DefaultReplicas)
	} else {
		scaling := *s.Autoscaling
		scaling.Metric = cmp.Or(scaling.Metric, Concurrency)
		scaling.Window = cmp.Or(scaling.Window, time.Minute)
		scaling.ScaleDownDelay = cmp.Or(scaling.ScaleDownDelay, 5*time.Minute)
		scaling.IdleTime = cmp.Or(scaling.IdleTime, 5*time.Minute)
		s.Autoscaling = &scaling
	}
	if s.Canary != nil {
		s.Canary = s.Canary.withDefaults()
	}
	return s
}

func (c *CanaryPolicy) withDefaults() *CanaryPolicy {
	policy := *c
	if len(policy.Steps) == 0 {
		policy.Steps = []int{1, 5, 25, 50, 100}
	}
	if c.Analysis != nil {
		analysis := *c.Analysis
		analysis.Window = cmp.Or(analysis.Window, 5*time.Minute)
		analysis.MinRequests = cmp.Or(analysis.MinRequests, 100)
		analysis.MaxErrorRate = cmp.Or(analysis.MaxErrorRate, 0.01)
		analysis.MaxLatencyRatio = cmp.Or(analysis.MaxLatencyRatio, 1.5)
		if len(analysis.Percentiles) == 0 {
			analysis.Percentiles = []float64{50, 99}
		}
		policy.Analysis = &analysis
	}
	return &policy
}

// Least is the fewest replicas that the endpoint has while it runs.
func (s *Spec) Least() int {
	if s.Autoscaling != nil {
		return s.Autoscaling.Min
	}
	return s.Replicas
}

// Most is the most replicas that it may have.
func (s *Spec) Most() int {
	if s.Autoscaling != nil {
		return s.Autoscaling.Max
	}
	return s.Replicas
}

// Demand is what a number of replicas ask of a region. The container has no
// faults.
func (c Container) Demand(replicas int) capacity.Demand {
	requests, _ := c.requests()
	return capacity.Demand{Pods: []capacity.PodGroup{{
		Count: replicas, Pod: capacity.Pod{Requests: requests, CapacityType: c.CapacityType},
	}}}
}

// requests reads the quantities, and lists those that are none.
func (c Container) requests() (capacity.Resources, []job.Fault) {
	requests := capacity.Resources{capacity.Pods: 1}
	var faults []job.Fault
	for _, name := range slices.Sorted(maps.Keys(c.Resources)) {
		amount, err := readQuantity(name, c.Resources[name])
		if err != nil {
			faults = append(faults, job.Fault{Field: "resources." + name, Message: err.Error()})
			continue
		}
		requests[name] = amount
	}
	return requests, faults
}

// maxAmount is the largest quantity, in the unit of its resource.
const maxAmount = 1e15

func readQuantity(name, text string) (int64, error) {
	q, err := resource.ParseQuantity(text)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a Kubernetes quantity, such as 500m, 8 or 32Gi", shorten(text))
	case q.Sign() < 0 || q.CmpInt64(maxAmount) > 0:
		return 0, fmt.Errorf("%q is outside 0 to 1P", shorten(text))
	case name == capacity.CPU:
		return q.MilliValue(), nil
	case q.MilliValue()%1000 != 0:
		return 0, fmt.Errorf("%q is not a whole number", shorten(text))
	default:
		return q.Value(), nil
	}
}

// Same tells whether two containers make the same revision.
func (c Container) Same(other Container) bool {
	return c.Image == other.Image && slices.Equal(c.Command, other.Command) && slices.Equal(c.Args, other.Args) &&
		maps.Equal(c.Env, other.Env) && c.Port == other.Port && maps.Equal(c.Resources, other.Resources) &&
		c.Model == other.Model && c.HealthPath == other.HealthPath && c.CapacityType == other.CapacityType
}

// Same tells whether two specs with their defaults say the same.
func (s *Spec) Same(other Spec) bool {
	return s.Container.Same(other.Container) && s.Replicas == other.Replicas && s.Regions.same(other.Regions) &&
		s.DrainTime == other.DrainTime && s.ReadyTimeout == other.ReadyTimeout && s.Limits == other.Limits &&
		maps.Equal(s.ModelNames, other.ModelNames) &&
		reflect.DeepEqual(s.Autoscaling, other.Autoscaling) && reflect.DeepEqual(s.Canary, other.Canary)
}
