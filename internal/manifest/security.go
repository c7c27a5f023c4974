package manifest

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// safeSysctls are those that reach no further than the pod. Source: the
// baseline of Kubernetes' Pod Security Standards. The names are compared as
// they stand, so another spelling of a safe one is refused too.
var safeSysctls = []string{
	"kernel.shm_rmid_forced",
	"net.ipv4.ip_local_port_range",
	"net.ipv4.ip_local_reserved_ports",
	"net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ping_group_range",
	"net.ipv4.tcp_fin_timeout",
	"net.ipv4.tcp_keepalive_intvl",
	"net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_keepalive_time",
	"net.ipv4.tcp_rmem",
	"net.ipv4.tcp_syncookies",
	"net.ipv4.tcp_wmem",
}

// safeSELinuxTypes are those of ordinary containers; source as above.
var safeSELinuxTypes = []string{"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}

// appArmorAnnotation begins the older way to choose a container's profile.
const appArmorAnnotation = "container.apparmor.security.beta.kubernetes.io/"

// confinement is what a pod's and a container's security context have in
// common.
type confinement struct {
	windows  *corev1.WindowsSecurityContextOptions
	seLinux  *corev1.SELinuxOptions
	seccomp  *corev1.SeccompProfile
	appArmor *corev1.AppArmorProfile
}

func (c *compiler) admitPodSecurity(spec *corev1.PodSpec) {
	s := spec.SecurityContext
	if s == nil || c.policy.AllowPrivileged {
		return
	}
	at := podPath.Child("securityContext")
	c.admitConfinement(confinement{s.WindowsOptions, s.SELinuxOptions, s.SeccompProfile, s.AppArmorProfile}, at)
	for i, sysctl := range s.Sysctls {
		if !slices.Contains(safeSysctls, sysctl.Name) {
			c.add(at.Child("sysctls").Index(i).Child("name"), "%s is not a safe sysctl, and others are not allowed here (policy.allowPrivileged)", quoted(sysctl.Name))
		}
	}
}

func (c *compiler) admitConfinement(s confinement, at *field.Path) {
	c.refuse(s.windows != nil && s.windows.HostProcess != nil && *s.windows.HostProcess, at.Child("windowsOptions", "hostProcess"), "allowPrivileged")
	if s.seLinux != nil {
		c.refuse(!slices.Contains(safeSELinuxTypes, s.seLinux.Type), at.Child("seLinuxOptions", "type"), "allowPrivileged")
		c.refuse(s.seLinux.User != "", at.Child("seLinuxOptions", "user"), "allowPrivileged")
		c.refuse(s.seLinux.Role != "", at.Child("seLinuxOptions", "role"), "allowPrivileged")
	}
	if s.seccomp != nil {
		c.admitProfile(string(s.seccomp.Type), at.Child("seccompProfile", "type"))
	}
	if s.appArmor != nil {
		c.admitProfile(string(s.appArmor.Type), at.Child("appArmorProfile", "type"))
	}
}

// admitProfile refuses every profile that is not known to confine.
func (c *compiler) admitProfile(profile string, at *field.Path) {
	if profile != string(corev1.SeccompProfileTypeRuntimeDefault) && profile != string(corev1.SeccompProfileTypeLocalhost) {
		c.add(at, "%s is not allowed here (policy.allowPrivileged), only RuntimeDefault or Localhost", quoted(profile))
	}
}

func (c *compiler) admitAppArmorAnnotations(template *corev1.PodTemplateSpec) {
	defer c.sortFrom(len(c.semantic))
	for key, profile := range template.Annotations {
		if strings.HasPrefix(key, appArmorAnnotation) && profile != "runtime/default" && !strings.HasPrefix(profile, "localhost/") {
			c.add(templatePath.Child("metadata", "annotations").Key(key), "%s is not allowed here (policy.allowPrivileged), only runtime/default or localhost/...", quoted(profile))
		}
	}
}

func (c *compiler) admitContainer(spec *corev1.PodSpec, container *corev1.Container, at *field.Path) {
	if !c.policy.AllowHostNamespaces {
		c.admitNetwork(container, at)
	}
	if c.policy.RequireNonRoot {
		c.admitUser(spec, container, at)
	}
	if c.policy.RequireLimits {
		c.admitLimits(spec, container, at)
	}
	s := container.SecurityContext
	if s == nil {
		return
	}
	at = at.Child("securityContext")
	if !c.policy.AllowPrivileged {
		c.refuse(s.Privileged != nil && *s.Privileged, at.Child("privileged"), "allowPrivileged")
		c.refuse(s.ProcMount != nil && *s.ProcMount != corev1.DefaultProcMount, at.Child("procMount"), "allowPrivileged")
		c.admitConfinement(confinement{s.WindowsOptions, s.SELinuxOptions, s.SeccompProfile, s.AppArmorProfile}, at)
	}
	if !c.policy.AllowAddedCapabilities {
		c.refuse(s.Capabilities != nil && len(s.Capabilities.Add) > 0, at.Child("capabilities", "add"), "allowAddedCapabilities")
	}
	if !c.policy.AllowPrivilegeEscalation {
		c.refuse(s.AllowPrivilegeEscalation != nil && *s.AllowPrivilegeEscalation, at.Child("allowPrivilegeEscalation"), "allowPrivilegeEscalation")
	}
}

// admitNetwork refuses ports of the node, and probes and hooks that the node
// would send to a host of the user's choice.
func (c *compiler) admitNetwork(container *corev1.Container, at *field.Path) {
	for i, port := range container.Ports {
		c.refuse(port.HostPort != 0, at.Child("ports").Index(i).Child("hostPort"), "allowHostNamespaces")
		c.refuse(port.HostIP != "", at.Child("ports").Index(i).Child("hostIP"), "allowHostNamespaces")
	}
	for _, probe := range [...]struct {
		name string
		*corev1.Probe
	}{{"livenessProbe", container.LivenessProbe}, {"readinessProbe", container.ReadinessProbe}, {"startupProbe", container.StartupProbe}} {
		if probe.Probe != nil {
			c.admitTargets(probe.HTTPGet, probe.TCPSocket, at.Child(probe.name))
		}
	}
	if container.Lifecycle == nil {
		return
	}
	at = at.Child("lifecycle")
	if hook := container.Lifecycle.PostStart; hook != nil {
		c.admitTargets(hook.HTTPGet, hook.TCPSocket, at.Child("postStart"))
	}
	if hook := container.Lifecycle.PreStop; hook != nil {
		c.admitTargets(hook.HTTPGet, hook.TCPSocket, at.Child("preStop"))
	}
}

func (c *compiler) admitTargets(http *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction, at *field.Path) {
	c.refuse(http != nil && http.Host != "", at.Child("httpGet", "host"), "allowHostNamespaces")
	c.refuse(tcp != nil && tcp.Host != "", at.Child("tcpSocket", "host"), "allowHostNamespaces")
}

// admitUser looks at the user that the container would run as: its own
// setting, else that of the pod.
func (c *compiler) admitUser(spec *corev1.PodSpec, container *corev1.Container, at *field.Path) {
	var nonRoot *bool
	var user *int64
	if s := spec.SecurityContext; s != nil {
		nonRoot, user = s.RunAsNonRoot, s.RunAsUser
	}
	if s := container.SecurityContext; s != nil {
		if s.RunAsNonRoot != nil {
			nonRoot = s.RunAsNonRoot
		}
		if s.RunAsUser != nil {
			user = s.RunAsUser
		}
	}
	at = at.Child("securityContext")
	if nonRoot == nil || !*nonRoot {
		c.add(at.Child("runAsNonRoot"), "must be true here, for the container or the pod (policy.requireNonRoot)")
	}
	if user != nil && *user == 0 {
		c.add(at.Child("runAsUser"), "is 0 (root), which is not allowed here (policy.requireNonRoot)")
	}
}

func (c *compiler) admitLimits(spec *corev1.PodSpec, container *corev1.Container, at *field.Path) {
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		_, limited := container.Resources.Limits[name]
		if !limited && spec.Resources != nil {
			_, limited = spec.Resources.Limits[name]
		}
		if !limited {
			c.add(at.Child("resources", "limits").Key(string(name)), "is required here (policy.requireLimits)")
		}
	}
}
