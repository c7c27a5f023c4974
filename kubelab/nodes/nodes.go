// Package nodes is the file that says what a cluster is made of, and the Node
// objects that stand for it. It is pure: it decodes, checks and renders. The
// kubelab command calls it.
package nodes

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// KindLabel says on a Node what runs its pods. A node that was told to be not
// ready has another value than its kind, so that nothing runs them.
const KindLabel = "kubelab.gco.dev/node"

// Kind is what runs the pods of a node.
type Kind string

// The kinds. Simulated plays pods: they start at once and end when their
// annotations say. Process runs their commands as processes of this host.
const (
	Simulated Kind = "simulated"
	Process   Kind = "process"
)

// MaxNodes is the most that one cluster has.
const MaxNodes = 2000

// File is the file: what a cluster is made of.
type File struct {
	// Region is the value of the region's label on every node.
	Region string `json:"region,omitempty"`
	// Namespaces are made where they are not there yet.
	Namespaces []string `json:"namespaces,omitempty"`
	Groups     []Group  `json:"nodes"`
}

// Group is a number of nodes that are alike.
type Group struct {
	// Name begins the names of the nodes; the default is made of kind and
	// instance type.
	Name  string `json:"name,omitempty"`
	Kind  Kind   `json:"kind,omitempty"`
	Count int    `json:"count"`

	InstanceType string `json:"instanceType,omitempty"`
	// CapacityType is on-demand or spot, for the label that Karpenter uses.
	CapacityType string   `json:"capacityType,omitempty"`
	Arch         string   `json:"arch,omitempty"`
	Zones        []string `json:"zones,omitempty"`

	// Resources are what one node has; pods is 110 where it is not there.
	Resources map[string]string `json:"resources"`
	Labels    map[string]string `json:"labels,omitempty"`
	Taints    []Taint           `json:"taints,omitempty"`
}

// Taint keeps pods away that don't tolerate it.
type Taint struct {
	Key    string             `json:"key"`
	Value  string             `json:"value,omitempty"`
	Effect corev1.TaintEffect `json:"effect"`
}

// Endpoint is where the kubelets of all nodes answer.
type Endpoint struct {
	Address string
	Port    int32
	// Version is what the nodes say they run.
	Version string
}

// Decode reads a file. An error says every fault that it found.
func Decode(r io.Reader) (File, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return File{}, fmt.Errorf("reading the file of nodes: %w", err)
	}
	var file File
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		return File{}, fmt.Errorf("the file of nodes: %w", err)
	}
	if err := file.complete(); err != nil {
		return File{}, fmt.Errorf("the file of nodes: %w", err)
	}
	return file, nil
}

// Default is what a cluster has where no file says otherwise: room for GPU
// jobs that are played, and one node that runs commands.
func Default(region string) File {
	file, err := Decode(bytes.NewReader([]byte(defaultFile)))
	if err != nil {
		panic("nodes: " + err.Error())
	}
	file.Region = region
	return file
}

const defaultFile = `
nodes:
- count: 1
  kind: process
  resources: {cpu: "8", memory: 16Gi, nvidia.com/gpu: "4"}
`

var (
	nameForm      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?$`)
	namespaceForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

// complete puts the defaults in place and refuses what makes no nodes.
func (f *File) complete() error {
	var faults []error
	for i, namespace := range f.Namespaces {
		if !namespaceForm.MatchString(namespace) {
			faults = append(faults, fmt.Errorf("namespaces[%d]: %q is no name of a namespace", i, namespace))
		}
	}
	total, names := 0, map[string]int{}
	for i := range f.Groups {
		group := &f.Groups[i]
		group.complete()
		for _, fault := range group.faults() {
			faults = append(faults, fmt.Errorf("nodes[%d].%w", i, fault))
		}
		if first, taken := names[group.Name]; taken {
			faults = append(faults, fmt.Errorf("nodes[%d].name: %q is the name of nodes[%d], too; give one of them another", i, group.Name, first))
		} else {
			names[group.Name] = i
		}
		total += max(0, min(group.Count, MaxNodes+1))
	}
	if total > MaxNodes {
		faults = append(faults, fmt.Errorf("nodes: %d or more of them, and %d is the most", total, MaxNodes))
	}
	return errors.Join(faults...)
}

func (g *Group) complete() {
	if g.Kind == "" {
		g.Kind = Simulated
	}
	if g.Name == "" {
		g.Name = strings.Trim(string(g.Kind)+"-"+strings.ToLower(strings.ReplaceAll(g.InstanceType, ".", "-")), "-")
	}
	if g.Arch == "" {
		g.Arch = "amd64"
	}
	if _, said := g.Resources["pods"]; !said && g.Resources != nil {
		g.Resources["pods"] = "110"
	}
}

func (g *Group) faults() []error {
	var faults []error
	refuse := func(found bool, format string, args ...any) {
		if found {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	refuse(!nameForm.MatchString(g.Name), "name: %q is no part of a node's name; use lower-case letters, digits and hyphens", g.Name)
	refuse(g.Kind != Simulated && g.Kind != Process, "kind: %q is neither %s nor %s", g.Kind, Simulated, Process)
	refuse(g.Count < 1, "count: %d nodes are none", g.Count)
	refuse(g.CapacityType != "" && g.CapacityType != "on-demand" && g.CapacityType != "spot", "capacityType: %q is neither on-demand nor spot", g.CapacityType)
	refuse(len(g.Resources) == 0, "resources: a node needs some, such as {cpu: \"8\", memory: 16Gi}")
	for _, name := range slices.Sorted(maps.Keys(g.Resources)) {
		amount, err := resource.ParseQuantity(g.Resources[name])
		refuse(err != nil || amount.Sign() < 0, "resources.%s: %q is no amount", name, g.Resources[name])
	}
	for i, taint := range g.Taints {
		known := taint.Effect == corev1.TaintEffectNoSchedule || taint.Effect == corev1.TaintEffectNoExecute || taint.Effect == corev1.TaintEffectPreferNoSchedule
		refuse(taint.Key == "" || !known, "taints[%d]: a taint has a key and one of the effects NoSchedule, PreferNoSchedule and NoExecute", i)
	}
	return faults
}

// Nodes renders the Node objects, in the order of the file, as a kubelet
// registers them: with their status, and ready.
func (f File) Nodes(at Endpoint, now time.Time) []*corev1.Node {
	var all []*corev1.Node
	for _, group := range f.Groups {
		for i := range group.Count {
			all = append(all, group.node(i, f.Region, at, now))
		}
	}
	return all
}

func (g Group) node(i int, region string, at Endpoint, now time.Time) *corev1.Node {
	name := fmt.Sprintf("%s-%d", g.Name, i)
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: g.labels(i, name, region)},
		Spec:       corev1.NodeSpec{ProviderID: "kubelab://" + name},
		Status: corev1.NodeStatus{
			Capacity: g.resources(), Allocatable: g.resources(),
			Conditions: []corev1.NodeCondition{Ready(corev1.ConditionTrue, now)},
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: at.Address},
				{Type: corev1.NodeHostName, Address: name},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: at.Port}},
			NodeInfo: corev1.NodeSystemInfo{
				Architecture: g.Arch, OperatingSystem: "linux", KubeletVersion: at.Version,
				ContainerRuntimeVersion: "kubelab://" + string(g.Kind),
			},
			Phase: corev1.NodeRunning,
		},
	}
	for _, taint := range g.Taints {
		node.Spec.Taints = append(node.Spec.Taints, corev1.Taint{Key: taint.Key, Value: taint.Value, Effect: taint.Effect})
	}
	return node
}

func (g Group) labels(i int, name, region string) map[string]string {
	labels := maps.Clone(g.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for key, value := range map[string]string{
		corev1.LabelHostname: name, corev1.LabelArchStable: g.Arch, corev1.LabelOSStable: "linux",
		corev1.LabelInstanceTypeStable: g.InstanceType, corev1.LabelTopologyRegion: region,
		"karpenter.sh/capacity-type": g.CapacityType, KindLabel: string(g.Kind),
	} {
		if value != "" {
			labels[key] = value
		}
	}
	if len(g.Zones) > 0 {
		labels[corev1.LabelTopologyZone] = g.Zones[i%len(g.Zones)]
	}
	return labels
}

func (g Group) resources() corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, amount := range g.Resources {
		list[corev1.ResourceName(name)] = resource.MustParse(amount)
	}
	return list
}

// Ready is the condition that a kubelet reports of its node.
func Ready(status corev1.ConditionStatus, now time.Time) corev1.NodeCondition {
	condition := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: status, Reason: "KubeletReady", Message: "kubelab reports that the node is ready",
		LastHeartbeatTime: metav1.NewTime(now), LastTransitionTime: metav1.NewTime(now),
	}
	switch status {
	case corev1.ConditionTrue:
	case corev1.ConditionFalse:
		condition.Reason, condition.Message = "KubeletNotReady", "kubelab was told that the node is not ready"
	default:
		condition.Reason, condition.Message = "NodeStatusUnknown", "kubelab was told that the node does not answer"
	}
	return condition
}
