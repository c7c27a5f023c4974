package job

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/model"
)

// Limits on a spec, all inclusive.
const (
	MaxPriority          = 1000
	MaxRetries           = 100
	MaxLabels            = 64
	MaxDuration          = 366 * 24 * time.Hour
	DefaultRegionLost    = time.Hour
	DefaultTTL           = 7 * 24 * time.Hour
	maxRegionsInOneField = 256
)

// OnRegionLost says what becomes of an attempt whose region was lost.
type OnRegionLost string

// The policies for a lost region.
const (
	// Requeue starts a new attempt elsewhere; the agent fences the old one.
	Requeue OnRegionLost = "requeue"
	// Fail ends the job.
	Fail OnRegionLost = "fail"
	// Wait keeps the attempt, unfenced, for Spec.OnRegionLostLimit.
	Wait OnRegionLost = "wait"
)

// Spec is what a user submitted. It never changes after the submission.
type Spec struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Priority  int               `json:"priority"`
	Labels    map[string]string `json:"labels,omitempty"`
	Placement Constraints       `json:"placement"`
	// Retries is how many failures of the workload are followed by another
	// attempt.
	Retries int `json:"retries"`
	// Deadline counts from the submission; 0 is none.
	Deadline time.Duration `json:"deadline,omitempty"`
	// TTLAfterFinished is how long the record stays after the end.
	TTLAfterFinished  time.Duration `json:"ttlAfterFinished"`
	OnRegionLost      OnRegionLost  `json:"onRegionLost"`
	OnRegionLostLimit time.Duration `json:"onRegionLostLimit,omitempty"`
	// SubmittedBy is the identity that submitted the job.
	SubmittedBy string `json:"submittedBy,omitempty"`
	// RetryOf is the job that a user's retry repeats.
	RetryOf ID `json:"retryOf,omitempty"`
	// Template is where the submission came from; it may be gone since.
	Template TemplateRef `json:"template,omitzero"`
	// Class groups the job with those that placement cannot tell from it.
	Class capacity.Class `json:"class"`
}

// TemplateRef names one version of a template.
type TemplateRef struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
}

// Constraints limit where a job may be placed, and say where it had better be.
type Constraints struct {
	// Regions lists the only ones allowed; empty allows every one.
	Regions      []string      `json:"regions,omitempty"`
	AvoidRegions []string      `json:"avoidRegions,omitempty"`
	CapacityType capacity.Type `json:"capacityType,omitempty"`
	// MaxPricePerHour limits the price of the whole demand, in the currency
	// of the configured prices; 0 is no limit.
	MaxPricePerHour float64 `json:"maxPricePerHour,omitempty"`
	// Model is the version of a model that the job reads, as NAME@VERSION.
	// Regions that have it are preferred; the others fetch it first.
	Model string `json:"model,omitempty"`
}

// Fault is one thing that is wrong with a submission.
type Fault struct {
	// Field is the path of the field as the user wrote it, such as
	// "placement.regions[1]".
	Field   string
	Message string
}

// Invalid lists every fault of a submission at once.
type Invalid struct{ Faults []Fault }

// Error names the first fault and counts the others.
func (e *Invalid) Error() string {
	if len(e.Faults) == 0 {
		return "invalid submission"
	}
	text := fmt.Sprintf("%s: %s", e.Faults[0].Field, e.Faults[0].Message)
	if more := len(e.Faults) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

var (
	// dnsLabel is Kubernetes' rule for namespaces (RFC 1123 label).
	dnsLabel = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	// dnsName is Kubernetes' rule for object names (RFC 1123 subdomain).
	dnsName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	labelName  = regexp.MustCompile(`^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelValue = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
)

// ValidRegionName tells whether name can name a region: a DNS label.
func ValidRegionName(name string) bool { return dnsLabel.MatchString(name) }

// WithDefaults fills what the user left out.
func (s Spec) WithDefaults() Spec {
	s.OnRegionLost = cmp.Or(s.OnRegionLost, Requeue)
	s.TTLAfterFinished = cmp.Or(s.TTLAfterFinished, DefaultTTL)
	if s.OnRegionLost == Wait {
		s.OnRegionLostLimit = cmp.Or(s.OnRegionLostLimit, DefaultRegionLost)
	}
	return s
}

// Validate returns every fault of the spec, with field paths as in the API.
func (s Spec) Validate() []Fault {
	var faults []Fault
	add := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, Fault{field, fmt.Sprintf(format, args...)})
		}
	}
	add(dnsLabel.MatchString(s.Namespace), "namespace", "%q is not a DNS label (lower-case letters, digits and '-', at most 63)", s.Namespace)
	add(validName(s.Name), "name", "%q is not a Kubernetes object name", s.Name)
	add(s.Priority >= 0 && s.Priority <= MaxPriority, "priority", "%d is outside 0 to %d", s.Priority, MaxPriority)
	add(s.Retries >= 0 && s.Retries <= MaxRetries, "retries", "%d is outside 0 to %d", s.Retries, MaxRetries)
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"deadline", s.Deadline},
		{"ttlAfterFinished", s.TTLAfterFinished},
		{"onRegionLostLimit", s.OnRegionLostLimit},
	} {
		add(d.value >= 0 && d.value <= MaxDuration, d.field, "%s is outside 0s to %s", d.value, MaxDuration)
	}
	add(s.OnRegionLost == Requeue || s.OnRegionLost == Fail || s.OnRegionLost == Wait,
		"onRegionLost", "%q is not one of requeue, fail, wait", s.OnRegionLost)
	add(s.OnRegionLostLimit == 0 || s.OnRegionLost == Wait,
		"onRegionLostLimit", "only has a meaning with onRegionLost: wait")
	add(len(s.Labels) <= MaxLabels, "labels", "%d labels; at most %d are allowed", len(s.Labels), MaxLabels)
	for _, key := range slices.Sorted(maps.Keys(s.Labels)) {
		add(validLabelKey(key), "labels", "key %q is not a Kubernetes label key", key)
		add(labelValue.MatchString(s.Labels[key]), "labels["+key+"]", "%q is not a Kubernetes label value", s.Labels[key])
	}
	return append(faults, s.Placement.validate()...)
}

func validName(name string) bool { return len(name) <= 253 && dnsName.MatchString(name) }

// validLabelKey is Kubernetes' rule: a name, with a DNS name and a slash
// before it or not.
func validLabelKey(key string) bool {
	if prefix, name, found := strings.Cut(key, "/"); found {
		return validName(prefix) && labelName.MatchString(name)
	}
	return labelName.MatchString(key)
}

func (c Constraints) validate() []Fault {
	var faults []Fault
	lists := []struct {
		field string
		names []string
	}{{"placement.regions", c.Regions}, {"placement.avoidRegions", c.AvoidRegions}}
	for _, list := range lists {
		if len(list.names) > maxRegionsInOneField {
			faults = append(faults, Fault{list.field, fmt.Sprintf("%d regions; at most %d are allowed", len(list.names), maxRegionsInOneField)})
			continue
		}
		for i, name := range list.names {
			field := fmt.Sprintf("%s[%d]", list.field, i)
			if !ValidRegionName(name) {
				faults = append(faults, Fault{field, fmt.Sprintf("%q is not a region name (a DNS label)", name)})
			} else if slices.Index(list.names, name) < i {
				faults = append(faults, Fault{field, fmt.Sprintf("%q is listed twice", name)})
			}
		}
	}
	if c.CapacityType != "" && c.CapacityType != capacity.OnDemand && c.CapacityType != capacity.Spot {
		faults = append(faults, Fault{"placement.capacityType", fmt.Sprintf("%q is not one of on-demand, spot", c.CapacityType)})
	}
	if ref, err := model.ParseRef(c.Model); c.Model != "" && (err != nil || !ref.Exact()) {
		faults = append(faults, Fault{"model", fmt.Sprintf("%q is not NAME@VERSION", c.Model)})
	}
	// The negated form also refuses NaN.
	if !(c.MaxPricePerHour >= 0 && c.MaxPricePerHour <= 1e9) {
		faults = append(faults, Fault{"placement.maxPricePerHour", fmt.Sprintf("%v is outside 0 to 1e9", c.MaxPricePerHour)})
	}
	return faults
}
