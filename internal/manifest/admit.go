package manifest

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// admit holds the Job against the policy, but for the caps, which demand
// compares with what it derives.
func (c *compiler) admit(j *batchv1.Job) {
	p, spec, at := c.policy, &j.Spec.Template.Spec, podPath
	if !allows(p.AllowedNamespaces, j.Namespace) {
		c.add(root.Child("metadata", "namespace"), "%s is not allowed here (policy.allowedNamespaces: %s)", quoted(j.Namespace), listed(p.AllowedNamespaces))
	}
	c.admitIdentity(spec)
	if class := spec.PriorityClassName; class != "" && !allows(p.AllowedPriorityClasses, class) {
		c.add(at.Child("priorityClassName"), "%s is not allowed here (policy.allowedPriorityClasses: %s)", quoted(class), listed(p.AllowedPriorityClasses))
	}
	if !p.AllowHostNamespaces {
		c.refuse(spec.HostNetwork, at.Child("hostNetwork"), "allowHostNamespaces")
		c.refuse(spec.HostPID, at.Child("hostPID"), "allowHostNamespaces")
		c.refuse(spec.HostIPC, at.Child("hostIPC"), "allowHostNamespaces")
	}
	if !p.AllowControlPlane {
		c.admitTolerations(spec)
	}
	registries := c.registries()
	c.admitVolumes(spec, registries)
	c.admitPodSecurity(spec)
	if !p.AllowPrivileged {
		c.admitAppArmorAnnotations(&j.Spec.Template)
	}
	c.containers(spec, func(at *field.Path, container *corev1.Container) {
		c.admitImage(container.Image, at.Child("image"), registries)
		c.admitContainer(spec, container, at)
	})
}

// allows tells whether a list of the policy has the name.
func allows(list []string, name string) bool {
	return slices.Contains(list, name) || slices.Contains(list, anything)
}

// listed shows a list of the policy in a message.
func listed(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// refuse notes that a field asks for what a switch of the policy forbids.
func (c *compiler) refuse(asked bool, at *field.Path, policyField string) {
	if asked {
		c.add(at, "is not allowed here (policy.%s)", policyField)
	}
}

func (c *compiler) admitIdentity(spec *corev1.PodSpec) {
	p, at := c.policy, podPath
	account, name := spec.ServiceAccountName, "serviceAccountName"
	if old := spec.DeprecatedServiceAccount; old != "" {
		if account == "" {
			account, name = old, "serviceAccount"
		} else if account != old {
			c.add(at.Child("serviceAccount"), "is %s, but serviceAccountName is %s; leave serviceAccount out", quoted(old), quoted(account))
		}
	}
	if account == "" {
		account = "default"
	}
	if !allows(p.AllowedServiceAccounts, account) {
		c.add(at.Child(name), "%s is not allowed here (policy.allowedServiceAccounts: %s)", quoted(account), listed(p.AllowedServiceAccounts))
	}
	mount := spec.AutomountServiceAccountToken
	c.refuse(!p.AllowServiceAccountToken && mount != nil && *mount, at.Child("automountServiceAccountToken"), "allowServiceAccountToken")
}

// controlPlaneTaints keep pods off the nodes that run the cluster itself.
var controlPlaneTaints = []string{"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"}

func (c *compiler) admitTolerations(spec *corev1.PodSpec) {
	for i, t := range spec.Tolerations {
		at := func() *field.Path { return podPath.Child("tolerations").Index(i) }
		if t.Effect != "" && t.Effect != corev1.TaintEffectNoSchedule {
			continue
		}
		switch {
		case slices.Contains(controlPlaneTaints, t.Key):
			c.add(at(), "tolerates control plane nodes, which is not allowed here (policy.allowControlPlane)")
		case t.Key == "":
			c.add(at(), "tolerates every taint, also that of control plane nodes, which is not allowed here (policy.allowControlPlane); name the taint that is meant")
		}
	}
}

// volumeKinds are the fields of a volume that say what it is.
var volumeKinds = fieldNames(reflect.TypeFor[corev1.VolumeSource]())

func fieldNames(structure reflect.Type) []string {
	fields := map[string]reflect.Type{}
	collectFields(structure, fields)
	return slices.Sorted(maps.Keys(fields))
}

func (c *compiler) admitVolumes(spec *corev1.PodSpec, registries []repository) {
	for i := range spec.Volumes {
		volume, at := &spec.Volumes[i], podPath.Child("volumes").Index(i)
		kinds := kindsOf(&volume.VolumeSource)
		if len(kinds) > 1 {
			c.add(at, "is of more than one kind: %s", strings.Join(kinds, ", "))
		}
		for _, kind := range kinds {
			switch {
			case kind == "hostPath":
				c.refuse(!c.policy.AllowHostPath, at.Child(kind), "allowHostPath")
			case !allows(c.policy.AllowedVolumes, kind):
				c.add(at.Child(kind), "is not allowed here (policy.allowedVolumes: %s)", listed(c.policy.AllowedVolumes))
			}
		}
		if volume.Image != nil && volume.Image.Reference != "" {
			c.admitImage(volume.Image.Reference, at.Child("image", "reference"), registries)
		}
		if volume.Projected != nil && !c.policy.AllowServiceAccountToken {
			for k, source := range volume.Projected.Sources {
				from := at.Child("projected", "sources").Index(k)
				c.refuse(source.ServiceAccountToken != nil, from.Child("serviceAccountToken"), "allowServiceAccountToken")
				c.refuse(source.PodCertificate != nil, from.Child("podCertificate"), "allowServiceAccountToken")
			}
		}
	}
}

// kindsOf names the kinds that a volume is of; one that names none is an
// emptyDir, as in Kubernetes. It goes by the type's fields, so that a kind
// that a later version of Kubernetes adds is not overlooked.
func kindsOf(source *corev1.VolumeSource) []string {
	if source.EmptyDir != nil && *source == (corev1.VolumeSource{EmptyDir: source.EmptyDir}) || *source == (corev1.VolumeSource{}) {
		return []string{"emptyDir"}
	}
	var kinds []string
	value := reflect.ValueOf(source).Elem()
	for i := range value.NumField() {
		if !value.Field(i).IsZero() {
			name, _, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
			kinds = append(kinds, name)
		}
	}
	return kinds
}

// registries parses the policy's list; one that is no registry allows nothing.
func (c *compiler) registries() []repository {
	parsed := make([]repository, 0, len(c.policy.AllowedRegistries))
	for _, entry := range c.policy.AllowedRegistries {
		if r, ok := parseRegistry(entry); ok {
			parsed = append(parsed, r)
		}
	}
	return parsed
}

func (c *compiler) admitImage(image string, at *field.Path, registries []repository) {
	if image == "" {
		c.add(at, "is required")
		return
	}
	from, ok := parseImage(image)
	if !ok {
		c.add(at, "is %s, which is no image reference such as busybox:1.36 or registry.example.com/team/app@sha256:...", quoted(image))
		return
	}
	if slices.Contains(c.policy.AllowedRegistries, anything) {
		return
	}
	if !slices.ContainsFunc(registries, func(allowed repository) bool { return allowed.covers(from) }) {
		c.add(at, "%s comes from %s, which is not allowed here (policy.allowedRegistries: %s)",
			quoted(image), quoted(from.host+"/"+from.path), listed(c.policy.AllowedRegistries))
	}
}
