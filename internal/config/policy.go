package config

// Policy is which jobs are admitted. It has the fields of manifest.Policy, in
// its order, so that one converts into the other: infra reads this package
// and has no use for Kubernetes' types. manifest says what each field does,
// and checks the values that tags can't.
type Policy struct {
	AllowedNamespaces []string `json:"allowedNamespaces" doc:"Namespaces that jobs may be in; \"*\" allows every one."`
	AllowedRegistries []string `json:"allowedRegistries" doc:"Where images may come from: a registry host (with its port, if any), or a host and the beginning of a path, such as docker.io/library; \"*\" allows every one."`

	MaxCPU              string           `json:"maxCPU" doc:"CPU that all pods of one job may come to at the same time, as a Kubernetes quantity; empty is no cap."`
	MaxMemory           string           `json:"maxMemory" doc:"Memory, huge pages included, that all pods of one job may come to at the same time, as a Kubernetes quantity; empty is no cap."`
	MaxEphemeralStorage string           `json:"maxEphemeralStorage" doc:"Ephemeral storage that all pods of one job may come to at the same time, as a Kubernetes quantity; empty is no cap."`
	MaxResources        map[string]int64 `json:"maxResources" doc:"Pieces of each extended resource, such as nvidia.com/gpu, that all pods of one job may come to at the same time; \"*\" is for every name that is not listed. A name that neither covers is not allowed."`
	MaxPods             int              `json:"maxPods" doc:"Pods that one job may run at the same time; 0 is no cap." minimum:"0"`
	RequireLimits       bool             `json:"requireLimits" doc:"Whether CPU and memory need limits, which makes the caps on them binding: without a limit, a container may use whatever its node has free."`

	AllowPrivileged          bool `json:"allowPrivileged" doc:"Whether containers may be privileged, run as a Windows host process, unmask /proc, set unsafe sysctls, or leave seccomp, AppArmor or SELinux confinement."`
	AllowHostNamespaces      bool `json:"allowHostNamespaces" doc:"Whether pods may use their node's network, PID or IPC namespace, its ports, or probes that address another host from the node."`
	AllowHostPath            bool `json:"allowHostPath" doc:"Whether pods may mount paths of their node."`
	AllowAddedCapabilities   bool `json:"allowAddedCapabilities" doc:"Whether containers may add Linux capabilities."`
	AllowPrivilegeEscalation bool `json:"allowPrivilegeEscalation" doc:"Whether processes may gain privileges, as setuid programs do. If not, allowPrivilegeEscalation: false is written into every container."`
	AllowControlPlane        bool `json:"allowControlPlane" doc:"Whether pods may tolerate the taint of control plane nodes."`
	RequireNonRoot           bool `json:"requireNonRoot" doc:"Whether every container must run as another user than root (runAsNonRoot: true)."`

	AllowServiceAccountToken bool     `json:"allowServiceAccountToken" doc:"Whether pods may get credentials for their cluster's API. If not, automountServiceAccountToken: false is written into every pod."`
	AllowedServiceAccounts   []string `json:"allowedServiceAccounts" doc:"Service accounts that pods may run as; one that names none runs as default. \"*\" allows every one."`
	AllowedPriorityClasses   []string `json:"allowedPriorityClasses" doc:"Kubernetes priority classes that pods may have; \"*\" allows every one, even those that evict the cluster's own pods."`
	AllowedVolumes           []string `json:"allowedVolumes" doc:"Kinds of volumes that pods may have, by the name of their field in Kubernetes; \"*\" allows every one but hostPath, which allowHostPath is for."`
}

func defaultPolicy() Policy {
	return Policy{
		AllowedNamespaces: []string{"default", "gco-jobs"},
		AllowedRegistries: []string{
			"docker.io", "ghcr.io", "gcr.io", "quay.io", "registry.k8s.io", "public.ecr.aws", "nvcr.io", "mcr.microsoft.com",
		},
		MaxCPU:                 "256",
		MaxMemory:              "2Ti",
		MaxEphemeralStorage:    "2Ti",
		MaxResources:           map[string]int64{"*": 32},
		MaxPods:                256,
		AllowedServiceAccounts: []string{"default"},
		AllowedPriorityClasses: []string{},
		// Those of the restricted Pod Security Standard.
		AllowedVolumes: []string{
			"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret",
		},
	}
}
