package manifest_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/manifest"
)

// containerKinds are the places where a container may stand, each with the
// path of the one that a test adds there.
var containerKinds = []struct {
	name, path string
	// add puts the container, as a tree, into the pod.
	add func(pod, container tree)
}{
	{"container", "manifest.spec.template.spec.containers[1]", func(pod, container tree) {
		pod["containers"] = append(slices.Clone(pod["containers"].([]any)), container)
	}},
	{"init container", "manifest.spec.template.spec.initContainers[0]", func(pod, container tree) {
		pod["initContainers"] = []any{container}
	}},
	{"sidecar", "manifest.spec.template.spec.initContainers[1]", func(pod, container tree) {
		container["restartPolicy"] = "Always"
		pod["initContainers"] = []any{tree{"name": "first", "image": "busybox"}, container}
	}},
}

// permissive allows whatever a switch or a list of the policy can.
func permissive() manifest.Policy {
	p := unlimited()
	p.AllowedNamespaces, p.AllowedRegistries = []string{"*"}, []string{"*"}
	p.AllowPrivileged, p.AllowHostNamespaces, p.AllowHostPath, p.AllowAddedCapabilities = true, true, true, true
	p.AllowPrivilegeEscalation, p.AllowControlPlane, p.AllowServiceAccountToken = true, true, true
	p.AllowedServiceAccounts, p.AllowedPriorityClasses, p.AllowedVolumes = []string{"*"}, []string{"*"}, []string{"*"}
	return p
}

// Each rule about containers holds for every kind of container, and is off
// where the policy says so.
func TestAdmitContainers(t *testing.T) {
	for _, c := range []struct{ name, container, path, text string }{
		{"privileged", `securityContext: {privileged: true}`, "securityContext.privileged", "policy.allowPrivileged"},
		{"Windows host process", `securityContext: {windowsOptions: {hostProcess: true}}`, "securityContext.windowsOptions.hostProcess", "policy.allowPrivileged"},
		{"unmasked /proc", `securityContext: {procMount: Unmasked}`, "securityContext.procMount", "policy.allowPrivileged"},
		{"seccomp off", `securityContext: {seccompProfile: {type: Unconfined}}`, "securityContext.seccompProfile.type", "RuntimeDefault or Localhost"},
		{"AppArmor off", `securityContext: {appArmorProfile: {type: Unconfined}}`, "securityContext.appArmorProfile.type", "RuntimeDefault or Localhost"},
		{"SELinux type", `securityContext: {seLinuxOptions: {type: spc_t}}`, "securityContext.seLinuxOptions.type", "policy.allowPrivileged"},
		{"SELinux user", `securityContext: {seLinuxOptions: {user: system_u}}`, "securityContext.seLinuxOptions.user", "policy.allowPrivileged"},
		{"SELinux role", `securityContext: {seLinuxOptions: {role: system_r}}`, "securityContext.seLinuxOptions.role", "policy.allowPrivileged"},
		{"added capability", `securityContext: {capabilities: {add: [NET_BIND_SERVICE]}}`, "securityContext.capabilities.add", "policy.allowAddedCapabilities"},
		{"all capabilities, one dropped", `securityContext: {capabilities: {add: [ALL], drop: [NET_RAW]}}`, "securityContext.capabilities.add", "policy.allowAddedCapabilities"},
		{"privilege escalation", `securityContext: {allowPrivilegeEscalation: true}`, "securityContext.allowPrivilegeEscalation", "policy.allowPrivilegeEscalation"},
		{"host port", `ports: [{containerPort: 80}, {containerPort: 81, hostPort: 81}]`, "ports[1].hostPort", "policy.allowHostNamespaces"},
		{"host address", `ports: [{containerPort: 80, hostIP: 0.0.0.0}]`, "ports[0].hostIP", "policy.allowHostNamespaces"},
		{"liveness probe of another host", `livenessProbe: {httpGet: {host: 169.254.169.254, port: 80}}`, "livenessProbe.httpGet.host", "policy.allowHostNamespaces"},
		{"readiness probe of another host", `readinessProbe: {tcpSocket: {host: 10.0.0.1, port: 80}}`, "readinessProbe.tcpSocket.host", "policy.allowHostNamespaces"},
		{"startup probe of another host", `startupProbe: {httpGet: {host: localhost, port: 80}}`, "startupProbe.httpGet.host", "policy.allowHostNamespaces"},
		{"start hook to another host", `lifecycle: {postStart: {httpGet: {host: localhost, port: 80}}}`, "lifecycle.postStart.httpGet.host", "policy.allowHostNamespaces"},
		{"stop hook to another host", `lifecycle: {preStop: {tcpSocket: {host: localhost, port: 80}}}`, "lifecycle.preStop.tcpSocket.host", "policy.allowHostNamespaces"},
		{"registry", `image: evil.example.com/tool:1`, "image", "policy.allowedRegistries"},
	} {
		for _, kind := range containerKinds {
			t.Run(c.name+"/"+kind.name, func(t *testing.T) {
				container := tree{"name": "added", "image": "busybox"}
				overlay(t, container, c.container)
				j := decoded(t)
				kind.add(podOf(t, j), container)
				_, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
				if len(faults) != 1 {
					t.Error(faultLines(faults))
				}
				wantFault(t, faults, kind.path+"."+c.path, c.text)
				if _, faults := manifest.Compile(encoded(t, j), "", permissive()); len(faults) > 0 {
					t.Errorf("a permissive policy: %s", faultLines(faults))
				}
			})
		}
	}
}

func TestAdmitPods(t *testing.T) {
	const pod = "manifest.spec.template.spec."
	for _, c := range []struct{ name, pod, path, text string }{
		{"host network", `hostNetwork: true`, pod + "hostNetwork", "policy.allowHostNamespaces"},
		{"host PID", `hostPID: true`, pod + "hostPID", "policy.allowHostNamespaces"},
		{"host IPC", `hostIPC: true`, pod + "hostIPC", "policy.allowHostNamespaces"},
		{"Windows host process", `securityContext: {windowsOptions: {hostProcess: true}}`, pod + "securityContext.windowsOptions.hostProcess", "policy.allowPrivileged"},
		{"seccomp off", `securityContext: {seccompProfile: {type: Unconfined}}`, pod + "securityContext.seccompProfile.type", "policy.allowPrivileged"},
		{"AppArmor off", `securityContext: {appArmorProfile: {type: Unconfined}}`, pod + "securityContext.appArmorProfile.type", "policy.allowPrivileged"},
		{"SELinux type", `securityContext: {seLinuxOptions: {type: spc_t}}`, pod + "securityContext.seLinuxOptions.type", "policy.allowPrivileged"},
		{
			"unsafe sysctl", `securityContext: {sysctls: [{name: kernel.shm_rmid_forced, value: "1"}, {name: kernel.msgmax, value: "1"}]}`,
			pod + "securityContext.sysctls[1].name", "kernel.msgmax",
		},
		{
			"unsafe sysctl in its other spelling", `securityContext: {sysctls: [{name: net/core/somaxconn, value: "1"}]}`,
			pod + "securityContext.sysctls[0].name", "net/core/somaxconn",
		},
		{"service account", `serviceAccountName: admin`, pod + "serviceAccountName", "policy.allowedServiceAccounts"},
		{"service account by its old name", `serviceAccount: admin`, pod + "serviceAccount", "policy.allowedServiceAccounts"},
		{"token", `automountServiceAccountToken: true`, pod + "automountServiceAccountToken", "policy.allowServiceAccountToken"},
		{
			"token in a volume", `volumes: [{name: t, projected: {sources: [{secret: {name: s}}, {serviceAccountToken: {path: t}}]}}]`,
			pod + "volumes[0].projected.sources[1].serviceAccountToken", "policy.allowServiceAccountToken",
		},
		{
			"certificate in a volume", `volumes: [{name: t, projected: {sources: [{podCertificate: {signerName: a.example.com/b, keyType: ED25519}}]}}]`,
			pod + "volumes[0].projected.sources[0].podCertificate", "policy.allowServiceAccountToken",
		},
		{"priority class", `priorityClassName: system-node-critical`, pod + "priorityClassName", "policy.allowedPriorityClasses"},
		{"control plane", `tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists}]`, pod + "tolerations[0]", "policy.allowControlPlane"},
		{"control plane by its old name", `tolerations: [{key: node-role.kubernetes.io/master, effect: NoSchedule}]`, pod + "tolerations[0]", "policy.allowControlPlane"},
		{"every taint", `tolerations: [{operator: Exists}]`, pod + "tolerations[0]", "name the taint"},
		{"hostPath", `volumes: [{name: v, hostPath: {path: /}}]`, pod + "volumes[0].hostPath", "policy.allowHostPath"},
		{"NFS", `volumes: [{name: v, nfs: {server: s, path: /}}]`, pod + "volumes[0].nfs", "policy.allowedVolumes"},
		{"a driver on the host", `volumes: [{name: v, flexVolume: {driver: a/b}}]`, pod + "volumes[0].flexVolume", "policy.allowedVolumes"},
		{"image volume", `volumes: [{name: v, image: {reference: evil.example.com/data:1}}]`, pod + "volumes[0].image.reference", "policy.allowedRegistries"},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, podOf(t, j), c.pod)
			_, faults := manifest.Compile(encoded(t, j), "", manifest.DefaultPolicy())
			if len(faults) != 1 {
				t.Error(faultLines(faults))
			}
			wantFault(t, faults, c.path, c.text)
			if _, faults := manifest.Compile(encoded(t, j), "", permissive()); len(faults) > 0 {
				t.Errorf("a permissive policy: %s", faultLines(faults))
			}
		})
	}
}

// What some other systems can be talked into.
func TestAdmitHasNoWayRound(t *testing.T) {
	const privileged = `{"name":"x","image":"busybox","securityContext":{"privileged":true}}`
	for _, c := range []struct{ name, text, path, message string }{
		{
			"a pod spec in a second place", strings.Replace(smallJob, `"spec":{"template"`, `"spec":{"containers":[`+privileged+`],"template"`, 1),
			"manifest.spec.containers", "not a field",
		},
		{
			"an empty decoy before the pod spec", strings.Replace(smallJob, `"spec":{"template":{"spec":`, `"spec":{"template":{},"jobTemplate":{"spec":{}},"template":{"spec":`, 1),
			"manifest.spec.template", "twice",
		},
		{
			"a decoy after the pod spec", strings.Replace(smallJob, `}}}}`, `}},"template":{"spec":{"restartPolicy":"Never","containers":[]}}}}`, 1),
			"manifest.spec.template", "twice",
		},
		{
			"a key twice in a container", strings.Replace(smallJob, `"image":"busybox:1.36"`, `"image":"busybox","image":"evil.example.com/x"`, 1),
			"manifest.spec.template.spec.containers[0].image", "twice",
		},
		{
			"a key twice, one with an escape", strings.Replace(smallJob, `"image":"busybox:1.36"`, `"image":"busybox","im\u0061ge":"evil.example.com/x"`, 1),
			"manifest.spec.template.spec.containers[0].image", "twice",
		},
		{
			"another case", strings.Replace(smallJob, `"image":"busybox:1.36"`, `"image":"busybox","securitycontext":{"privileged":true}`, 1),
			"manifest.spec.template.spec.containers[0].securitycontext", "did you mean securityContext?",
		},
		{"a second document", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\n---\nkind: Pod\n", "manifest", "more than one YAML document"},
		{"a second JSON value", smallJob + `{"kind":"Pod"}`, "manifest", "goes on after its end"},
		{"a second document after JSON", smallJob + "\n---\nkind: Pod\n", "manifest", "goes on after its end"},
		{"another kind", strings.Replace(smallJob, `"kind":"Job"`, `"kind":"CronJob"`, 1), "manifest.kind", `must be "Job"`},
		{"another version", strings.Replace(smallJob, `batch/v1`, `batch/v1beta1`, 1), "manifest.apiVersion", `must be "batch/v1"`},
		{"another case of the kind", strings.Replace(smallJob, `"kind":"Job"`, `"kind":"job"`, 1), "manifest.kind", `must be "Job"`},
		{"a list", `{"apiVersion":"v1","kind":"List","items":[]}`, "manifest.kind", "submission of its own"},
		{"a merge key", "apiVersion: batch/v1\nkind: Job\nspec:\n  <<: {suspend: true}\n", "manifest.spec", "merge key"},
		{"an alias", "apiVersion: batch/v1\nkind: &k Job\nmetadata: {name: *k}\n", "manifest.metadata.name", "aliases are not accepted"},
		{
			"an ephemeral container", strings.Replace(smallJob, `"containers":`, `"ephemeralContainers":[`+privileged+`],"containers":`, 1),
			"manifest.spec.template.spec.ephemeralContainers", "not accepted",
		},
		{"a node", strings.Replace(smallJob, `"containers":`, `"nodeName":"n","containers":`, 1), "manifest.spec.template.spec.nodeName", "scheduler"},
		{
			"two service accounts", strings.Replace(smallJob, `"containers":`, `"serviceAccount":"admin","serviceAccountName":"default","containers":`, 1),
			"manifest.spec.template.spec.serviceAccount", "leave serviceAccount out",
		},
		{
			"two kinds of volume", strings.Replace(smallJob, `"containers":`, `"volumes":[{"name":"v","emptyDir":{},"hostPath":{"path":"/"}}],"containers":`, 1),
			"manifest.spec.template.spec.volumes[0].hostPath", "policy.allowHostPath",
		},
		{
			"AppArmor off by annotation", strings.Replace(smallJob, `"template":{`, `"template":{"metadata":{"annotations":{"container.apparmor.security.beta.kubernetes.io/hello":"unconfined"}},`, 1),
			"manifest.spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/hello]", "runtime/default",
		},
		{
			"the template's namespace", strings.Replace(smallJob, `"template":{`, `"template":{"metadata":{"namespace":"kube-system"},`, 1),
			"manifest.spec.template.metadata.namespace", "leave it out",
		},
		{
			"GCO's own labels", strings.Replace(smallJob, `"template":{`, `"template":{"metadata":{"labels":{"gco.dev/job":"x"}},`, 1),
			"manifest.spec.template.metadata.labels[gco.dev/job]", "reserved",
		},
		{
			"low requests, high limits", strings.Replace(smallJob, `"image"`, `"resources":{"requests":{"cpu":"1m"},"limits":{"cpu":"1000"}},"image"`, 1),
			"manifest.spec", "policy.maxCPU",
		},
		{"many pods", strings.Replace(smallJob, `"spec":{"template"`, `"spec":{"parallelism":257,"template"`, 1), "manifest.spec.parallelism", "policy.maxPods"},
		{
			"a repository path with dots", strings.Replace(smallJob, "busybox:1.36", "docker.io/library/../evil", 1),
			"manifest.spec.template.spec.containers[0].image", "no image reference",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, faults := manifest.Compile([]byte(c.text), "", manifest.DefaultPolicy())
			wantFault(t, faults, c.path, c.message)
		})
	}
}

// Nothing here asks for more than an ordinary container has.
func TestAdmitWhatIsHarmless(t *testing.T) {
	j := decoded(t)
	overlay(t, podOf(t, j), `
hostNetwork: false
hostUsers: false
shareProcessNamespace: true
serviceAccountName: default
serviceAccount: default
automountServiceAccountToken: false
securityContext:
  runAsUser: 0
  seccompProfile: {type: RuntimeDefault}
  appArmorProfile: {type: Localhost, localhostProfile: p}
  seLinuxOptions: {type: container_t, level: "s0:c1"}
  windowsOptions: {hostProcess: false}
  sysctls: [{name: net.ipv4.tcp_syncookies, value: "1"}]
tolerations:
- {key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoExecute}
- {operator: Exists, effect: PreferNoSchedule}
volumes:
- {name: nothing}
- {name: scratch, emptyDir: {medium: Memory}}
- {name: image, image: {reference: quay.io/a/b}}
- {name: claim, persistentVolumeClaim: {claimName: c}}
- {name: config, projected: {sources: [{configMap: {name: c}}, {downwardAPI: {items: []}}]}}
`)
	overlay(t, containerOf(t, j), `
securityContext: {privileged: false, allowPrivilegeEscalation: false, procMount: Default, capabilities: {add: [], drop: [ALL]}}
ports: [{containerPort: 80, hostPort: 0}]
livenessProbe: {httpGet: {port: 80}}
lifecycle: {preStop: {exec: {command: [sync]}}}
`)
	compile(t, j)
}

// Where Kubernetes' default is what the policy forbids, saying nothing is no
// way round it.
func TestHarden(t *testing.T) {
	j := decoded(t)
	podOf(t, j)["initContainers"] = []any{
		tree{"name": "i", "image": "busybox"},
		tree{"name": "p", "image": "busybox", "securityContext": tree{"privileged": true}},
		tree{"name": "c", "image": "busybox", "securityContext": tree{"capabilities": tree{"add": []any{"SYS_ADMIN"}}}},
	}
	for _, c := range []struct {
		name   string
		change func(*manifest.Policy)
		tokens bool // whether the token is left alone
		// escalate has, for i, p, c and the container, whether escalation is
		// left alone.
		escalate [4]bool
	}{
		{"nothing is allowed but what the manifest needs", func(p *manifest.Policy) {}, false, [4]bool{false, true, true, false}},
		{"tokens are allowed", func(p *manifest.Policy) { p.AllowServiceAccountToken = true }, true, [4]bool{false, true, true, false}},
		{"escalation is allowed", func(p *manifest.Policy) { p.AllowPrivilegeEscalation = true }, false, [4]bool{true, true, true, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			policy := manifest.DefaultPolicy()
			policy.AllowPrivileged, policy.AllowAddedCapabilities = true, true
			c.change(&policy)
			out, faults := manifest.Compile(encoded(t, j), "", policy)
			if len(faults) > 0 {
				t.Fatal(faultLines(faults))
			}
			pod := jobOf(t, out.JSON).Spec.Template.Spec
			if mount := pod.AutomountServiceAccountToken; (mount == nil) != c.tokens || mount != nil && *mount {
				t.Errorf("automountServiceAccountToken is %v", mount)
			}
			for i, container := range slices.Concat(pod.InitContainers, pod.Containers) {
				var allowed *bool
				if container.SecurityContext != nil {
					allowed = container.SecurityContext.AllowPrivilegeEscalation
				}
				if (allowed == nil) != c.escalate[i] || allowed != nil && *allowed {
					t.Errorf("allowPrivilegeEscalation of %s is %v", container.Name, allowed)
				}
			}
		})
	}
}

func TestHardenLeavesWindowsAlone(t *testing.T) {
	j := decoded(t)
	overlay(t, podOf(t, j), `os: {name: windows}`)
	pod := jobOf(t, compile(t, j).JSON).Spec.Template.Spec
	if pod.Containers[0].SecurityContext != nil {
		t.Errorf("a security context that Windows does not have: %+v", pod.Containers[0].SecurityContext)
	}
}

func TestRequireNonRoot(t *testing.T) {
	policy := manifest.DefaultPolicy()
	policy.RequireNonRoot = true
	for _, c := range []struct{ name, pod, container, path string }{
		{"nothing said", ``, ``, "runAsNonRoot"},
		{"the pod", `securityContext: {runAsNonRoot: true}`, ``, ""},
		{"the container", ``, `securityContext: {runAsNonRoot: true, runAsUser: 1000}`, ""},
		{"the container undoes it", `securityContext: {runAsNonRoot: true}`, `securityContext: {runAsNonRoot: false}`, "runAsNonRoot"},
		{"root by number", `securityContext: {runAsNonRoot: true, runAsUser: 0}`, ``, "runAsUser"},
		{"root by number in the container", `securityContext: {runAsNonRoot: true, runAsUser: 1}`, `securityContext: {runAsUser: 0}`, "runAsUser"},
	} {
		for _, kind := range containerKinds {
			t.Run(c.name+"/"+kind.name, func(t *testing.T) {
				container := tree{"name": "added", "image": "busybox"}
				overlay(t, container, c.container)
				j := decoded(t)
				overlay(t, podOf(t, j), c.pod)
				kind.add(podOf(t, j), container)
				_, faults := manifest.Compile(encoded(t, j), "", policy)
				path := kind.path + ".securityContext." + c.path
				if got := hasFaultAt(faults, path); got != (c.path != "") {
					t.Errorf("fault at %s: %t; %s", path, got, faultLines(faults))
				}
			})
		}
	}
}

func TestRequireLimits(t *testing.T) {
	policy := manifest.DefaultPolicy()
	policy.RequireLimits = true
	for _, kind := range containerKinds {
		t.Run(kind.name, func(t *testing.T) {
			container := tree{"name": "added", "image": "busybox", "resources": tree{"limits": tree{"cpu": 1}}}
			j := decoded(t)
			kind.add(podOf(t, j), container)
			_, faults := manifest.Compile(encoded(t, j), "", policy)
			wantFault(t, faults, kind.path+".resources.limits[memory]", "policy.requireLimits")
			if hasFaultAt(faults, kind.path+".resources.limits[cpu]") {
				t.Error(faultLines(faults))
			}
			overlay(t, podOf(t, j), `resources: {limits: {cpu: 2, memory: 1Gi}}`)
			if _, faults := manifest.Compile(encoded(t, j), "", policy); len(faults) > 0 {
				t.Errorf("with limits for the pod as a whole: %s", faultLines(faults))
			}
		})
	}
}

// The caps are on all pods of a job together, over every resource name.
func TestCaps(t *testing.T) {
	policy := manifest.DefaultPolicy()
	policy.MaxCPU, policy.MaxMemory, policy.MaxEphemeralStorage, policy.MaxPods = "10", "32Gi", "100Gi", 8
	policy.MaxResources = map[string]int64{"nvidia.com/gpu": 4, "aws.amazon.com/neuron": 2}
	for _, c := range []struct {
		name, spec, limits, text string
	}{
		{"at every cap", `{parallelism: 2}`, `{cpu: 5, memory: 16Gi, ephemeral-storage: 50Gi, nvidia.com/gpu: 2, aws.amazon.com/neuron: 1}`, ""},
		{"CPU", `{parallelism: 2}`, `{cpu: 5001m}`, "comes to 10.002 CPUs in 2 pods at the same time; 10 is allowed here (policy.maxCPU)"},
		{"memory", `{parallelism: 2}`, `{memory: 17Gi}`, "comes to 34Gi in 2 pods at the same time; 32Gi is allowed here (policy.maxMemory)"},
		{"huge pages are memory", `{}`, `{memory: 30Gi, hugepages-1Gi: 3Gi}`, "comes to 33Gi in 1 pod; 32Gi is allowed here (policy.maxMemory)"},
		{"storage", `{}`, `{ephemeral-storage: 107374182401}`, "comes to 107374182401 in 1 pod; 100Gi is allowed here (policy.maxEphemeralStorage)"},
		{"GPUs", `{parallelism: 3}`, `{nvidia.com/gpu: 2}`, "comes to 6 nvidia.com/gpu in 3 pods at the same time; 4 are allowed here (policy.maxResources[nvidia.com/gpu])"},
		{"other accelerators", `{}`, `{aws.amazon.com/neuron: 3}`, "comes to 3 aws.amazon.com/neuron"},
		{"what is not listed is not allowed", `{}`, `{vpc.amazonaws.com/efa: 1}`, "0 are allowed here (policy.maxResources[*])"},
		{"completions do not count", `{completions: 100}`, `{cpu: 10, nvidia.com/gpu: 4}`, ""},
		{"pods that can't run at the same time", `{parallelism: 100, completions: 2}`, `{nvidia.com/gpu: 2}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, j["spec"].(tree), c.spec)
			overlay(t, containerOf(t, j), "resources: {limits: "+c.limits+"}")
			_, faults := manifest.Compile(encoded(t, j), "", policy)
			if c.text == "" && len(faults) > 0 || c.text != "" && len(faults) != 1 {
				t.Error(faultLines(faults))
			}
			if c.text != "" {
				wantFault(t, faults, "manifest.spec", c.text)
			}
		})
	}
}

// Init containers and sidecars count against the caps as they do in the
// demand, and a pod's own limits as well.
func TestCapsCountEveryContainer(t *testing.T) {
	policy := manifest.DefaultPolicy()
	policy.MaxCPU = "10"
	for _, c := range []struct{ name, pod string }{
		{"init container", `initContainers: [` + resourced("i", `resources: {limits: {cpu: 11}}`) + `]`},
		{"sidecar", `
initContainers: [` + resourced("s", `restartPolicy: Always, resources: {limits: {cpu: 6}}`) + `]
containers: [` + resourced("a", `resources: {limits: {cpu: 5}}`) + `]`},
		{"pod", `{resources: {limits: {cpu: 11}}, containers: [` + resourced("a", `resources: {requests: {cpu: 1}}`) + `]}`},
		{"overhead", `{runtimeClassName: r, overhead: {cpu: 11}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := decoded(t)
			overlay(t, podOf(t, j), c.pod)
			_, faults := manifest.Compile(encoded(t, j), "", policy)
			wantFault(t, faults, "manifest.spec", "policy.maxCPU")
		})
	}
}

// Kubernetes gains kinds of volumes; all are known by their type.
func TestEveryKindOfVolumeIsUnderThePolicy(t *testing.T) {
	policy := manifest.DefaultPolicy()
	policy.AllowedVolumes = nil
	kinds := 0
	for kind := range jsonFields(corev1.VolumeSource{}) {
		kinds++
		j := decoded(t)
		podOf(t, j)["volumes"] = []any{tree{"name": "v", kind: tree{}}}
		_, faults := manifest.Compile(encoded(t, j), "", policy)
		if len(faults) != 1 || !strings.Contains(faults[0].Message, "not allowed here") {
			t.Errorf("%s: %s", kind, faultLines(faults))
		}
	}
	if kinds < 25 {
		t.Errorf("only %d kinds of volumes", kinds)
	}
}
