package nodes_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/kubelab"
	"github.com/gco-project/gco/kubelab/nodes"
)

const full = `
region: us-east-1
nodes:
- count: 3
  instanceType: p5.48xlarge
  capacityType: spot
  zones: [us-east-1a, us-east-1b]
  resources: {cpu: "192", memory: 2Ti, nvidia.com/gpu: "8"}
  labels: {team: vision}
  taints: [{key: nvidia.com/gpu, effect: NoSchedule}]
- name: commands
  kind: process
  count: 1
  arch: arm64
  resources: {cpu: "4", memory: 8Gi, pods: "20"}
`

func decode(t *testing.T, text string) nodes.File {
	t.Helper()
	file, err := nodes.Decode(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func TestNodesAreThoseOfTheFile(t *testing.T) {
	now := time.Unix(1000, 0)
	at := nodes.Endpoint{Address: "127.0.0.1", Port: 10250, Version: "v1.2.3"}
	all := decode(t, full).Nodes(at, now)
	if len(all) != 4 {
		t.Fatalf("%d nodes", len(all))
	}
	first, second, commands := all[0], all[1], all[3]
	for _, test := range []struct{ name, got, want string }{
		{"name", first.Name, "simulated-p5-48xlarge-0"},
		{"name", commands.Name, "commands-0"},
		{"zone", first.Labels[corev1.LabelTopologyZone], "us-east-1a"},
		{"next zone", second.Labels[corev1.LabelTopologyZone], "us-east-1b"},
		{"region", commands.Labels[corev1.LabelTopologyRegion], "us-east-1"},
		{"instance type", first.Labels[corev1.LabelInstanceTypeStable], "p5.48xlarge"},
		{"capacity type", first.Labels["karpenter.sh/capacity-type"], "spot"},
		{"own label", first.Labels["team"], "vision"},
		{"kind", first.Labels[nodes.KindLabel], "simulated"},
		{"kind", commands.Labels[nodes.KindLabel], "process"},
		{"architecture", commands.Labels[corev1.LabelArchStable], "arm64"},
		{"GPUs", first.Status.Allocatable.Name("nvidia.com/gpu", "").String(), "8"},
		{"pods by default", first.Status.Allocatable.Pods().String(), "110"},
		{"pods", commands.Status.Allocatable.Pods().String(), "20"},
		{"taint", first.Spec.Taints[0].Key, "nvidia.com/gpu"},
		{"version", first.Status.NodeInfo.KubeletVersion, "v1.2.3"},
		{"condition", string(first.Status.Conditions[0].Status), "True"},
	} {
		if test.got != test.want {
			t.Errorf("%s: %q, not %q", test.name, test.got, test.want)
		}
	}
	if port := first.Status.DaemonEndpoints.KubeletEndpoint.Port; port != 10250 {
		t.Errorf("the kubelet's port is %d", port)
	}
	if value, there := commands.Labels["karpenter.sh/capacity-type"]; there {
		t.Errorf("a capacity type that nobody named: %q", value)
	}
}

func TestFaultsOfAFileAreAllNamed(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"nothing of a node", "nodes: [{}]", []string{"nodes[0].count", "nodes[0].resources"}},
		{"a namespace", "namespaces: [ok, A]\nnodes: [{count: 1, resources: {cpu: 1}}]", []string{"namespaces[1]"}},
		{"an unknown field", "nodes: [{cuont: 1}]", []string{"cuont"}},
		{"no amount", "nodes: [{count: 1, resources: {cpu: many}}]", []string{`nodes[0].resources.cpu: "many"`}},
		{"a negative amount", `nodes: [{count: 1, resources: {cpu: "-1"}}]`, []string{"nodes[0].resources.cpu"}},
		{"a kind", "nodes: [{count: 1, kind: real, resources: {cpu: 1}}]", []string{"nodes[0].kind"}},
		{"a capacity type", "nodes: [{count: 1, capacityType: cheap, resources: {cpu: 1}}]", []string{"nodes[0].capacityType"}},
		{"a name", "nodes: [{count: 1, name: A_1, resources: {cpu: 1}}]", []string{"nodes[0].name"}},
		{"one name twice", "nodes: [{count: 1, resources: {cpu: 1}}, {count: 1, resources: {cpu: 1}}]", []string{"nodes[1].name"}},
		{"an effect", "nodes: [{count: 1, resources: {cpu: 1}, taints: [{key: a, effect: Never}]}]", []string{"nodes[0].taints[0]"}},
		{"too many", "nodes: [{count: 2001, resources: {cpu: 1}}]", []string{"2001", "2000"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := nodes.Decode(strings.NewReader(test.text))
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
		})
	}
}

func TestDefaultRunsCommands(t *testing.T) {
	file := nodes.Default("eu-west-1")
	if len(file.Groups) != 1 || file.Groups[0].Kind != nodes.Process || file.Region != "eu-west-1" {
		t.Errorf("%+v", file)
	}
}

// What the main module writes is what this one reads.
func TestTheLaunchersFileIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nodes.yaml")
	written := kubelab.Nodes{
		Namespaces: []string{"gco-system"},
		Groups: []kubelab.Group{{
			Name: "gpu", Kind: kubelab.Process, Count: 2, Arch: "arm64",
			Resources: map[string]string{"cpu": "500m", "nvidia.com/gpu": "8"}, Labels: map[string]string{"team": "vision"},
			Taints: []kubelab.Taint{{Key: "dedicated", Value: "vision", Effect: "NoSchedule"}},
		}},
	}
	if err := written.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := decode(t, string(text))
	node := file.Nodes(nodes.Endpoint{Address: "127.0.0.1"}, time.Unix(0, 0))[1]
	if !slices.Equal(file.Namespaces, written.Namespaces) || node.Name != "gpu-1" || node.Labels["team"] != "vision" ||
		node.Labels[nodes.KindLabel] != "process" || node.Labels[corev1.LabelArchStable] != "arm64" ||
		node.Spec.Taints[0].Value != "vision" || node.Status.Capacity.Cpu().String() != "500m" {
		t.Errorf("%+v", node)
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{full, "", "nodes: [{}]", "nodes: [{count: -1}]", "nodes: [{count: 1, resources: {cpu: 1e999}}]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file, err := nodes.Decode(strings.NewReader(text))
		if err != nil {
			return
		}
		// Whatever is accepted can be rendered, within the bound, each by a
		// name of its own.
		all := file.Nodes(nodes.Endpoint{Address: "127.0.0.1"}, time.Unix(0, 0))
		if len(all) > nodes.MaxNodes {
			t.Fatalf("%d nodes", len(all))
		}
		names := map[string]bool{}
		for _, node := range all {
			if names[node.Name] {
				t.Fatalf("two nodes are called %s", node.Name)
			}
			names[node.Name] = true
		}
	})
}
