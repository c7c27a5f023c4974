package manifest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gco-project/gco/internal/job"
)

// anything in a list of a Policy allows everything.
const anything = "*"

// Policy is what the operator lets jobs do, the policy section of gco.yaml.
// Whatever it does not name is not allowed: the zero Policy admits nothing.
type Policy struct {
	AllowedNamespaces []string `json:"allowedNamespaces" yaml:"allowedNamespaces" doc:"Namespaces that jobs may be in; \"*\" allows every one."`
	AllowedRegistries []string `json:"allowedRegistries" yaml:"allowedRegistries" doc:"Where images may come from: a registry host (with its port, if any), or a host and the beginning of a path, such as docker.io/library; \"*\" allows every one."`

	MaxCPU              string           `json:"maxCPU" yaml:"maxCPU" doc:"CPU that all pods of one job may come to at the same time, as a Kubernetes quantity; empty is no cap."`
	MaxMemory           string           `json:"maxMemory" yaml:"maxMemory" doc:"Memory, huge pages included, that all pods of one job may come to at the same time, as a Kubernetes quantity; empty is no cap."`
	MaxEphemeralStorage string           `json:"maxEphemeralStorage" yaml:"maxEphemeralStorage" doc:"Ephemeral storage that all pods of one job may come to at the same time, as a Kubernetes quantity; empty is no cap."`
	MaxResources        map[string]int64 `json:"maxResources" yaml:"maxResources" doc:"Pieces of each extended resource, such as nvidia.com/gpu, that all pods of one job may come to at the same time; \"*\" is for every name that is not listed. A name that neither covers is not allowed."`
	MaxPods             int              `json:"maxPods" yaml:"maxPods" doc:"Pods that one job may run at the same time; 0 is no cap." minimum:"0"`
	RequireLimits       bool             `json:"requireLimits" yaml:"requireLimits" doc:"Whether CPU and memory need limits, which makes the caps on them binding: without a limit, a container may use whatever its node has free."`

	AllowPrivileged          bool `json:"allowPrivileged" yaml:"allowPrivileged" doc:"Whether containers may be privileged, run as a Windows host process, unmask /proc, set unsafe sysctls, or leave seccomp, AppArmor or SELinux confinement."`
	AllowHostNamespaces      bool `json:"allowHostNamespaces" yaml:"allowHostNamespaces" doc:"Whether pods may use their node's network, PID or IPC namespace, its ports, or probes that address another host from the node."`
	AllowHostPath            bool `json:"allowHostPath" yaml:"allowHostPath" doc:"Whether pods may mount paths of their node."`
	AllowAddedCapabilities   bool `json:"allowAddedCapabilities" yaml:"allowAddedCapabilities" doc:"Whether containers may add Linux capabilities."`
	AllowPrivilegeEscalation bool `json:"allowPrivilegeEscalation" yaml:"allowPrivilegeEscalation" doc:"Whether processes may gain privileges, as setuid programs do. If not, allowPrivilegeEscalation: false is written into every container."`
	AllowControlPlane        bool `json:"allowControlPlane" yaml:"allowControlPlane" doc:"Whether pods may tolerate the taint of control plane nodes."`
	RequireNonRoot           bool `json:"requireNonRoot" yaml:"requireNonRoot" doc:"Whether every container must run as another user than root (runAsNonRoot: true)."`

	AllowServiceAccountToken bool     `json:"allowServiceAccountToken" yaml:"allowServiceAccountToken" doc:"Whether pods may get credentials for their cluster's API. If not, automountServiceAccountToken: false is written into every pod."`
	AllowedServiceAccounts   []string `json:"allowedServiceAccounts" yaml:"allowedServiceAccounts" doc:"Service accounts that pods may run as; one that names none runs as default. \"*\" allows every one."`
	AllowedPriorityClasses   []string `json:"allowedPriorityClasses" yaml:"allowedPriorityClasses" doc:"Kubernetes priority classes that pods may have; \"*\" allows every one, even those that evict the cluster's own pods."`
	AllowedVolumes           []string `json:"allowedVolumes" yaml:"allowedVolumes" doc:"Kinds of volumes that pods may have, by the name of their field in Kubernetes; \"*\" allows every one but hostPath, which allowHostPath is for."`
}

// DefaultPolicy keeps jobs apart from their nodes and clusters, as the
// baseline of Kubernetes' Pod Security Standards does and in some points
// more, and stops requests that can only be a mistake.
func DefaultPolicy() Policy {
	return Policy{
		AllowedNamespaces: []string{"default", "gco-jobs"},
		AllowedRegistries: []string{
			"docker.io", "ghcr.io", "gcr.io", "quay.io", "registry.k8s.io", "public.ecr.aws", "nvcr.io", "mcr.microsoft.com",
		},
		MaxCPU:                 "256",
		MaxMemory:              "2Ti",
		MaxEphemeralStorage:    "2Ti",
		MaxResources:           map[string]int64{anything: 32},
		MaxPods:                256,
		AllowedServiceAccounts: []string{"default"},
		AllowedPriorityClasses: []string{},
		// Those of the restricted Pod Security Standard.
		AllowedVolumes: []string{
			"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
		},
	}
}

// Validate returns every fault of the policy itself, with paths as in
// gco.yaml.
func (p Policy) Validate() []job.Fault {
	var faults []job.Fault
	add := func(ok bool, field, format string, args ...any) {
		if !ok {
			faults = append(faults, job.Fault{Field: "policy." + field, Message: fmt.Sprintf(format, args...)})
		}
	}
	add(len(p.AllowedNamespaces) > 0, "allowedNamespaces", "is empty, so no job could be submitted; list namespaces, or \"*\" for every one")
	for i, name := range p.AllowedNamespaces {
		add(name == anything || dnsLabel(name), fmt.Sprintf("allowedNamespaces[%d]", i), "is %s, which is no namespace", quoted(name))
	}
	add(len(p.AllowedRegistries) > 0, "allowedRegistries", "is empty, so no job could be submitted; list registries, or \"*\" for every one")
	for i, entry := range p.AllowedRegistries {
		_, ok := parseRegistry(entry)
		add(entry == anything || ok, fmt.Sprintf("allowedRegistries[%d]", i), "is %s, must be a registry host such as docker.io, with the beginning of a path or not, without scheme and tag", quoted(entry))
	}
	for _, c := range p.quantityCaps() {
		_, err := c.limit()
		add(err == nil, c.field, "is %s, which is no Kubernetes quantity from 0 to %s", quoted(c.value), maxQuantity.String())
	}
	for _, name := range slices.Sorted(maps.Keys(p.MaxResources)) {
		field := "maxResources[" + name + "]"
		add(name == anything || kindOf(corev1.ResourceName(name)) == extendedResource, field, "is no extended resource, such as nvidia.com/gpu, nor \"*\"")
		add(p.MaxResources[name] >= 0, field, "is %d, must not be negative", p.MaxResources[name])
	}
	add(p.MaxPods >= 0, "maxPods", "is %d, must not be negative", p.MaxPods)
	return append(faults, p.validateNames()...)
}

func (p Policy) validateNames() []job.Fault {
	var faults []job.Fault
	for _, list := range []struct {
		field string
		names []string
		valid func(string) bool
	}{
		{"allowedServiceAccounts", p.AllowedServiceAccounts, dnsSubdomain},
		{"allowedPriorityClasses", p.AllowedPriorityClasses, dnsSubdomain},
		{"allowedVolumes", p.AllowedVolumes, func(name string) bool { return slices.Contains(volumeKinds, name) && name != "hostPath" }},
	} {
		for i, name := range list.names {
			if name == anything || list.valid(name) {
				continue
			}
			message := fmt.Sprintf("is %s, which is not known", quoted(name))
			if name == "hostPath" {
				message = "is hostPath; use policy.allowHostPath"
			}
			faults = append(faults, job.Fault{Field: fmt.Sprintf("policy.%s[%d]", list.field, i), Message: message})
		}
	}
	return faults
}

// quantityCap is a cap that gco.yaml gives as a quantity.
type quantityCap struct {
	field, value string
	// covers tells for which resources the cap is.
	covers func(corev1.ResourceName) bool
}

func (p Policy) quantityCaps() [3]quantityCap {
	return [...]quantityCap{
		{"maxCPU", p.MaxCPU, func(name corev1.ResourceName) bool { return name == corev1.ResourceCPU }},
		{"maxMemory", p.MaxMemory, func(name corev1.ResourceName) bool {
			return name == corev1.ResourceMemory || strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
		}},
		{"maxEphemeralStorage", p.MaxEphemeralStorage, func(name corev1.ResourceName) bool { return name == corev1.ResourceEphemeralStorage }},
	}
}

// limit is the cap in thousandths.
func (c quantityCap) limit() (int64, error) {
	if c.value == "" {
		return math.MaxInt64, nil
	}
	if costlyNumber([]byte(c.value)) {
		return 0, fmt.Errorf("%s is out of range", abbreviated(c.value, maxQuoted))
	}
	q, err := resource.ParseQuantity(c.value)
	if err != nil {
		return 0, err
	}
	if q.Sign() < 0 || q.Cmp(maxQuantity) > 0 {
		return 0, fmt.Errorf("%s is out of range", c.value)
	}
	return q.MilliValue(), nil
}

// harden writes into the pod what the policy demands where Kubernetes'
// default, for a manifest that says nothing, is the opposite.
func (p Policy) harden(spec *corev1.PodSpec) {
	no := false
	if !p.AllowServiceAccountToken && spec.AutomountServiceAccountToken == nil {
		spec.AutomountServiceAccountToken = &no
	}
	if p.AllowPrivilegeEscalation || windows(spec) {
		return
	}
	for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range list {
			if list[i].SecurityContext == nil {
				list[i].SecurityContext = &corev1.SecurityContext{}
			}
			// Kubernetes refuses privileged containers that may not escalate;
			// where privileged is allowed, escalation goes with it.
			if s := list[i].SecurityContext; s.AllowPrivilegeEscalation == nil && !mustEscalate(s) {
				s.AllowPrivilegeEscalation = &no
			}
		}
	}
}

func mustEscalate(s *corev1.SecurityContext) bool {
	return s.Privileged != nil && *s.Privileged ||
		s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "SYS_ADMIN") ||
		s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "CAP_SYS_ADMIN")
}
