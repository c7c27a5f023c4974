package manifest_test

import (
	"fmt"
	"math"
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/manifest"
)

const (
	mi = 1 << 20
	gi = 1 << 30
)

// resourced is a container of a table.
func resourced(name, extra string) string {
	return "{name: " + name + ", image: busybox, " + extra + "}"
}

// unlimited lets everything through that is about amounts.
func unlimited() manifest.Policy {
	p := manifest.DefaultPolicy()
	p.MaxCPU, p.MaxMemory, p.MaxEphemeralStorage, p.MaxPods = "", "", "", 0
	p.MaxResources = map[string]int64{"*": math.MaxInt64}
	return p
}

// The expected figures are worked out by hand from the scheduler's formula:
// the larger of (containers + sidecars) and, for each init container, (itself
// + the sidecars before it), resource by resource; then what the pod as a
// whole requests in its place; then overhead.
func TestDemandRequests(t *testing.T) {
	for _, c := range []struct {
		name, pod string
		want      capacity.Resources
	}{
		{
			"nothing is asked for", `containers: [` + resourced("a", ``) + `]`,
			capacity.Resources{"pods": 1},
		},
		{
			"requests", `containers: [` + resourced("a", `resources: {requests: {cpu: 500m, memory: 1Gi, ephemeral-storage: 10Gi}}`) + `]`,
			capacity.Resources{"cpu": 500, "memory": gi, "ephemeral-storage": 10 * gi, "pods": 1},
		},
		{
			"numbers need no quotes", `containers: [` + resourced("a", `resources: {requests: {cpu: 1.5, memory: 1048576}}`) + `]`,
			capacity.Resources{"cpu": 1500, "memory": mi, "pods": 1},
		},
		{
			"decimal and binary units differ", `containers: [` + resourced("a", `resources: {requests: {memory: 1M}}`) + `, ` + resourced("b", `resources: {requests: {memory: 1Mi}}`) + `]`,
			capacity.Resources{"memory": 1000000 + 1048576, "pods": 1},
		},
		{
			"limits stand in for requests, name by name", `containers: [` + resourced("a", `resources: {requests: {cpu: 100m}, limits: {cpu: "2", memory: 1Gi, nvidia.com/gpu: 2}}`) + `]`,
			capacity.Resources{"cpu": 100, "memory": gi, "nvidia.com/gpu": 2, "pods": 1},
		},
		{
			"a request of zero is a request", `containers: [` + resourced("a", `resources: {requests: {cpu: 0}, limits: {cpu: "2"}}`) + `]`,
			capacity.Resources{"pods": 1},
		},
		{
			"containers add up", `containers: [` + resourced("a", `resources: {requests: {cpu: 500m, memory: 1Gi}}`) + `, ` + resourced("b", `resources: {limits: {cpu: 250m, aws.amazon.com/neuron: 1}}`) + `]`,
			capacity.Resources{"cpu": 750, "memory": gi, "aws.amazon.com/neuron": 1, "pods": 1},
		},
		{
			"CPU is rounded up to a millicore, each by itself", `containers: [` + resourced("a", `resources: {requests: {cpu: 100u}}`) + `, ` + resourced("b", `resources: {requests: {cpu: 1100u}}`) + `]`,
			capacity.Resources{"cpu": 1 + 2, "pods": 1},
		},
		{
			"memory is rounded up to a byte, in the sum", `containers: [` + resourced("a", `resources: {requests: {memory: 400m}}`) + `, ` + resourced("b", `resources: {requests: {memory: 700m}}`) + `]`,
			capacity.Resources{"memory": 2, "pods": 1},
		},

		{
			"the largest init container counts", `
initContainers: [` + resourced("i", `resources: {requests: {cpu: "4", memory: 1Gi}}`) + `, ` + resourced("j", `resources: {requests: {cpu: "1", memory: 3Gi}}`) + `]
containers: [` + resourced("a", `resources: {requests: {cpu: "2", memory: 2Gi}}`) + `]`,
			capacity.Resources{"cpu": 4000, "memory": 3 * gi, "pods": 1},
		},
		{
			"an init container may need what no other does", `
initContainers: [` + resourced("i", `resources: {limits: {nvidia.com/gpu: 1}}`) + `]
containers: [` + resourced("a", `resources: {requests: {cpu: "2"}}`) + `]`,
			capacity.Resources{"cpu": 2000, "nvidia.com/gpu": 1, "pods": 1},
		},
		{
			"a sidecar runs beside the containers", `
initContainers: [` + resourced("s", `restartPolicy: Always, resources: {requests: {cpu: 500m}}`) + `]
containers: [` + resourced("a", `resources: {requests: {cpu: "2"}}`) + `]`,
			capacity.Resources{"cpu": 2500, "pods": 1},
		},
		// s alone 1; i beside s: 1+4 = 5; running: 2+1 = 3.
		{
			"a sidecar runs beside later init containers", `
initContainers: [` + resourced("s", `restartPolicy: Always, resources: {requests: {cpu: "1"}}`) + `, ` + resourced("i", `resources: {requests: {cpu: "4"}}`) + `]
containers: [` + resourced("a", `resources: {requests: {cpu: "2"}}`) + `]`,
			capacity.Resources{"cpu": 5000, "pods": 1},
		},
		// i alone 4; running: 2+1 = 3.
		{
			"a sidecar does not run beside earlier init containers", `
initContainers: [` + resourced("i", `resources: {requests: {cpu: "4"}}`) + `, ` + resourced("s", `restartPolicy: Always, resources: {requests: {cpu: "1"}}`) + `]
containers: [` + resourced("a", `resources: {requests: {cpu: "2"}}`) + `]`,
			capacity.Resources{"cpu": 4000, "pods": 1},
		},
		// cpu: s 1, s+i 1+3 = 4, s+t 1+2 = 3, s+t+j 1+2+1 = 4; running 1+1+2 = 4.
		// memory: s 1, s+i 1+1 = 2, s+t 1+4 = 5, s+t+j 5+3 = 8; running 1+1+4 = 6.
		{
			"sidecars and init containers take turns", `
initContainers:
- ` + resourced("s", `restartPolicy: Always, resources: {requests: {cpu: "1", memory: 1Gi}}`) + `
- ` + resourced("i", `resources: {requests: {cpu: "3", memory: 1Gi}}`) + `
- ` + resourced("t", `restartPolicy: Always, resources: {requests: {cpu: "2", memory: 4Gi}}`) + `
- ` + resourced("j", `resources: {requests: {cpu: "1", memory: 3Gi}}`) + `
containers: [` + resourced("a", `resources: {requests: {cpu: "1", memory: 1Gi}}`) + `]`,
			capacity.Resources{"cpu": 4000, "memory": 8 * gi, "pods": 1},
		},
		{
			"an init container that may restart, but not always, is no sidecar", `
initContainers: [` + resourced("i", `restartPolicy: Never, resources: {requests: {cpu: "1"}}`) + `]
containers: [` + resourced("a", `resources: {requests: {cpu: "2"}}`) + `]`,
			capacity.Resources{"cpu": 2000, "pods": 1},
		},

		{
			"overhead comes on top", `
runtimeClassName: kata
overhead: {cpu: 250m, memory: 120Mi}
initContainers: [` + resourced("i", `resources: {requests: {cpu: "3"}}`) + `]
containers: [` + resourced("a", `resources: {requests: {cpu: "2", memory: 1Gi}}`) + `]`,
			capacity.Resources{"cpu": 3250, "memory": gi + 120*mi, "pods": 1},
		},
		{
			"requests of the pod stand for its containers'", `
resources: {requests: {cpu: "6"}, limits: {cpu: "8"}}
containers: [` + resourced("a", `resources: {requests: {cpu: "2", memory: 1Gi, ephemeral-storage: 1Gi}}`) + `]`,
			capacity.Resources{"cpu": 6000, "memory": gi, "ephemeral-storage": gi, "pods": 1},
		},
		{
			"limits of the pod stand in where no container asks", `
resources: {limits: {cpu: "8", memory: 4Gi}}
containers: [` + resourced("a", `resources: {requests: {cpu: "2"}}`) + `]`,
			capacity.Resources{"cpu": 2000, "memory": 4 * gi, "pods": 1},
		},
		{
			"overhead comes on top of the pod's own", `
runtimeClassName: kata
overhead: {cpu: 100m}
resources: {requests: {cpu: "6"}, limits: {cpu: "6"}}
containers: [` + resourced("a", ``) + `]`,
			capacity.Resources{"cpu": 6100, "pods": 1},
		},
		{
			"huge pages", `containers: [` + resourced("a", `resources: {limits: {hugepages-2Mi: 100Mi, memory: 1Gi}}`) + `]`,
			capacity.Resources{"hugepages-2Mi": 100 * mi, "memory": gi, "pods": 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, podOf(t, j), c.pod)
			out, faults := manifest.Compile(encoded(t, j), "", unlimited())
			if len(faults) > 0 {
				t.Fatal(faultLines(faults))
			}
			if len(out.Demand.Pods) != 1 || out.Demand.Pods[0].Count != 1 {
				t.Fatalf("demand is %+v", out.Demand)
			}
			if got := out.Demand.Pods[0].Requests; !reflect.DeepEqual(got, c.want) {
				t.Errorf("requests are %v, want %v", got, c.want)
			}
		})
	}
}

func TestDemandCount(t *testing.T) {
	for _, c := range []struct {
		spec string
		want int
	}{
		{`{}`, 1},
		{`{parallelism: 3}`, 3},
		{`{completions: 5}`, 1},
		{`{parallelism: 3, completions: 6}`, 3},
		{`{parallelism: 6, completions: 3}`, 3},
		{`{parallelism: 2, completions: 4, completionMode: Indexed}`, 2},
	} {
		t.Run(c.spec, func(t *testing.T) {
			j := decoded(t)
			overlay(t, j["spec"].(tree), c.spec)
			containerOf(t, j)["resources"] = tree{"requests": tree{"cpu": "2"}}
			demand := compile(t, j).Demand
			if demand.Pods[0].Count != c.want {
				t.Errorf("%d pods at the same time, want %d", demand.Pods[0].Count, c.want)
			}
			if total := demand.Total(); total["cpu"] != int64(2000*c.want) || total["pods"] != int64(c.want) {
				t.Errorf("total is %v", total)
			}
		})
	}
}

func TestDemandConstraints(t *testing.T) {
	j := decoded(t)
	overlay(t, podOf(t, j), `
nodeSelector: {kubernetes.io/arch: arm64, disk: ssd}
tolerations:
- {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}
- {key: dedicated, value: batch}
- {operator: Exists, effect: NoExecute, tolerationSeconds: 60}
affinity:
  nodeAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
    - {weight: 1, preference: {matchExpressions: [{key: cheap, operator: Exists}]}}
    requiredDuringSchedulingIgnoredDuringExecution:
      nodeSelectorTerms:
      - matchExpressions:
        - {key: zone, operator: In, values: [a, b]}
        - {key: generation, operator: Gt, values: ["4"]}
      - matchExpressions: [{key: spot, operator: DoesNotExist}]
`)
	want := capacity.Pod{
		Requests:     capacity.Resources{"pods": 1},
		NodeSelector: map[string]string{"kubernetes.io/arch": "arm64", "disk": "ssd"},
		Affinity: []capacity.Term{
			{{Key: "zone", Operator: "In", Values: []string{"a", "b"}}, {Key: "generation", Operator: "Gt", Values: []string{"4"}}},
			{{Key: "spot", Operator: "DoesNotExist"}},
		},
		Tolerations: []capacity.Toleration{
			{Key: "nvidia.com/gpu", Operator: "Exists", Effect: "NoSchedule"},
			{Key: "dedicated", Value: "batch"},
			{Operator: "Exists", Effect: "NoExecute"},
		},
	}
	if got := compile(t, j).Demand.Pods[0].Pod; !reflect.DeepEqual(got, want) {
		t.Errorf("pod is %+v\nwant %+v", got, want)
	}
}

func TestDemandRefuses(t *testing.T) {
	const required = "manifest.spec.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
	const container = "manifest.spec.template.spec.containers[0].resources"
	affinity := func(terms string) string {
		return `affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: ` + terms + `}}}`
	}
	resources := func(text string) string { return `containers: [` + resourced("a", `resources: `+text) + `]` }
	for _, c := range []struct{ name, pod, path, text string }{
		{"nodes by name", affinity(`[{matchFields: [{key: metadata.name, operator: In, values: [node-1]}]}]`), required + "[0].matchFields", "hostname"},
		{"no term", affinity(`[]`), required, "required"},
		{"an empty term", affinity(`[{}]`), required + "[0]", "matches no node"},
		{"In without values", affinity(`[{matchExpressions: [{key: a, operator: In}]}]`), required + "[0].matchExpressions[0].values", "required"},
		{"Exists with values", affinity(`[{matchExpressions: [{key: a, operator: Exists, values: [b]}]}]`), required + "[0].matchExpressions[0].values", "empty"},
		{"Gt with two values", affinity(`[{matchExpressions: [{key: a, operator: Gt, values: ["1", "2"]}]}]`), required + "[0].matchExpressions[0].values", "one whole number"},
		{"Lt with a word", affinity(`[{matchExpressions: [{key: a, operator: Lt, values: [b]}]}]`), required + "[0].matchExpressions[0].values", "one whole number"},
		{"an unknown operator", affinity(`[{matchExpressions: [{key: a, operator: in, values: [b]}]}]`), required + "[0].matchExpressions[0].operator", "must be In"},
		{"a bad key", affinity(`[{matchExpressions: [{key: "a b", operator: Exists}]}]`), required + "[0].matchExpressions[0].key", "no label key"},

		{"a request above its limit", resources(`{requests: {cpu: 1001m}, limits: {cpu: "1"}}`), container + ".requests[cpu]", "above the limit of 1"},
		{"a negative request", resources(`{requests: {cpu: "-1"}}`), container + ".requests[cpu]", "negative"},
		{"a negative limit", resources(`{limits: {memory: -1}}`), container + ".limits[memory]", "negative"},
		{"no quantity", resources(`{requests: {cpu: two}}`), container + ".requests[cpu]", "not a Kubernetes quantity"},
		{"a quantity of a wrong type", resources(`{requests: {cpu: [1]}}`), container + ".requests[cpu]", "not a Kubernetes quantity"},
		{"half a GPU", resources(`{limits: {nvidia.com/gpu: 0.5}}`), container + ".limits[nvidia.com/gpu]", "whole number"},
		{"fewer GPUs than the limit", resources(`{requests: {nvidia.com/gpu: 1}, limits: {nvidia.com/gpu: 2}}`), container + ".requests[nvidia.com/gpu]", "must equal"},
		{"GPUs without a limit", resources(`{requests: {nvidia.com/gpu: 1}}`), container + ".limits[nvidia.com/gpu]", "required"},
		{"an unknown resource", resources(`{requests: {gpu: 1}}`), container + ".requests[gpu]", "nvidia.com/gpu"},
		{"pods are not for containers", resources(`{requests: {pods: 1}}`), container + ".requests[pods]", "no resource of a container"},
		{"Kubernetes' own names", resources(`{limits: {kubernetes.io/gpu: 1}}`), container + ".limits[kubernetes.io/gpu]", "no resource of a container"},
		{"names of a quota", resources(`{limits: {requests.nvidia.com/gpu: 1}}`), container + ".limits[requests.nvidia.com/gpu]", "no resource of a container"},
		{"huge pages of no size", resources(`{limits: {hugepages-big: 1Mi}}`), container + ".limits[hugepages-big]", "no resource of a container"},
		{"more than there can be", resources(`{limits: {memory: 2P}}`), container + ".limits[memory]", "more than there can be"},
		{"an exponent that would take for ever", resources(`{limits: {cpu: "1e999999999"}}`), container + ".limits[cpu]", "out of the range"},
		{"a fraction that would take for ever", resources(`{limits: {cpu: "1e-999999999"}}`), container + ".limits[cpu]", "out of the range"},
		{"digits without end", resources(`{limits: {cpu: "1000000000000000000000000000000000000000000"}}`), container + ".limits[cpu]", "out of the range"},

		{"GPUs for the pod as a whole", `resources: {limits: {nvidia.com/gpu: 1}}`, "manifest.spec.template.spec.resources.limits[nvidia.com/gpu]", "pod as a whole"},
		{"less for the pod than for its containers", `
resources: {requests: {cpu: "1"}}
containers: [` + resourced("a", `resources: {requests: {cpu: "2"}}`) + `]`, "manifest.spec.template.spec.resources.requests[cpu]", "less than the containers"},
		{"claims of the pod", `resourceClaims: [{name: gpu, resourceClaimName: g}]`, "manifest.spec.template.spec.resourceClaims", "extended resource"},
		{"claims of a container", resources(`{claims: [{name: gpu}]}`), container + ".claims", "extended resource"},
		{"overhead without a runtime class", `overhead: {cpu: 1}`, "manifest.spec.template.spec.overhead", "runtimeClassName"},
		{"negative overhead", `{runtimeClassName: kata, overhead: {cpu: -1}}`, "manifest.spec.template.spec.overhead[cpu]", "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, podOf(t, j), c.pod)
			_, faults := manifest.Compile(encoded(t, j), "", unlimited())
			wantFault(t, faults, c.path, c.text)
		})
	}
}

// Sums past what an int64 holds must not wrap round a cap, nor a missing one.
// Each of these comes to 2^64 thousandths, which would wrap to nothing.
func TestDemandOverflow(t *testing.T) {
	for name, policy := range map[string]manifest.Policy{"caps": manifest.DefaultPolicy(), "no caps": unlimited()} {
		for _, c := range []struct {
			name               string
			containers, pods   int
			thousandthsOfACore int64
		}{
			{"many pods", 1, 1 << 30, 1 << 34},
			{"many containers", 32, 1, 1 << 59},
			{"both", 2, 1 << 24, 1 << 39},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				j := decoded(t)
				at(t, j, "spec").(tree)["parallelism"] = c.pods
				var containers []any
				for i := range c.containers {
					limits := tree{"cpu": fmt.Sprintf("%dm", c.thousandthsOfACore)}
					containers = append(containers, tree{"name": fmt.Sprintf("c%d", i), "image": "busybox", "resources": tree{"limits": limits}})
				}
				podOf(t, j)["containers"] = containers
				_, faults := manifest.Compile(encoded(t, j), "", policy)
				wantFault(t, faults, "manifest.spec", `more "cpu"`)
			})
		}
	}
}

func hasFaultAt(faults []job.Fault, path string) bool {
	for _, fault := range faults {
		if fault.Field == path {
			return true
		}
	}
	return false
}

func TestPodRequestsAndResourcesCountAsADemandDoes(t *testing.T) {
	list := corev1.ResourceList{"cpu": resource.MustParse("1500m"), "memory": resource.MustParse("1Gi"), "nvidia.com/gpu": resource.MustParse("2"), "gone": {}}
	pod := &corev1.PodSpec{
		Containers: []corev1.Container{{Resources: corev1.ResourceRequirements{Requests: list}}},
		Overhead:   corev1.ResourceList{"cpu": resource.MustParse("500m")},
	}
	want := capacity.Resources{"cpu": 2000, "memory": 1 << 30, "nvidia.com/gpu": 2, "pods": 1}
	if got := manifest.PodRequests(pod); !got.Equal(want) {
		t.Errorf("a pod requests %v, want %v", got, want)
	}
	want = capacity.Resources{"cpu": 1500, "memory": 1 << 30, "nvidia.com/gpu": 2}
	if got := manifest.Resources(list); !got.Equal(want) {
		t.Errorf("the list counts %v, want %v", got, want)
	}
}
