package manifest

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *compiler) checkPod(spec *corev1.PodSpec) {
	at := podPath
	switch spec.RestartPolicy {
	case corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure:
	case "":
		c.add(at.Child("restartPolicy"), "is required: Never or OnFailure (Kubernetes' default, Always, is not for jobs)")
	default:
		c.add(at.Child("restartPolicy"), "is %s, must be Never or OnFailure", quoted(spec.RestartPolicy))
	}
	if len(spec.Containers) == 0 {
		c.add(at.Child("containers"), "is required: at least one container")
	}
	if len(spec.EphemeralContainers) > 0 {
		c.add(at.Child("ephemeralContainers"), "is not accepted: they are for pods that run already")
	}
	c.notNegative(spec.ActiveDeadlineSeconds, at, "activeDeadlineSeconds")
	c.notNegative(spec.TerminationGracePeriodSeconds, at, "terminationGracePeriodSeconds")
	if spec.OS != nil {
		c.choice(at.Child("os", "name"), string(spec.OS.Name), string(corev1.Linux), string(corev1.Windows))
	}
	c.checkContainers(spec, c.checkVolumes(spec))
	c.checkScheduling(spec)
}

// checkScheduling refuses what keeps the pods from the scheduler, or from
// what placement can know.
func (c *compiler) checkScheduling(spec *corev1.PodSpec) {
	defer c.sortFrom(len(c.semantic))
	at := podPath
	if spec.NodeName != "" {
		c.add(at.Child("nodeName"), "is not accepted: it goes past the scheduler; choose nodes by nodeSelector or nodeAffinity")
	}
	if len(spec.SchedulingGates) > 0 {
		c.add(at.Child("schedulingGates"), "is not accepted: the pods would hold their place and never start")
	}
	if spec.SchedulingGroup != nil {
		c.add(at.Child("schedulingGroup"), "is not accepted: its PodGroup is not there in the region that the job goes to")
	}
	if len(spec.ResourceClaims) > 0 {
		c.add(at.Child("resourceClaims"), "is not accepted: placement does not know which devices a region has; use an extended resource such as nvidia.com/gpu")
	}
	if spec.Priority != nil {
		c.add(at.Child("priority"), "is set by Kubernetes; use the annotation gco.dev/priority for the order among GCO's jobs")
	}
	if len(spec.Overhead) > 0 && (spec.RuntimeClassName == nil || *spec.RuntimeClassName == "") {
		c.add(at.Child("overhead"), "needs runtimeClassName")
	}
	for name, q := range spec.Overhead {
		c.checkQuantity(name, q, at, "overhead")
	}
	c.checkLabelPairs(spec.NodeSelector, at.Child("nodeSelector"))
	for i := range spec.Tolerations {
		c.checkToleration(&spec.Tolerations[i], i)
	}
}

func (c *compiler) checkLabelPairs(pairs map[string]string, at *field.Path) {
	defer c.sortFrom(len(c.semantic))
	for key, value := range pairs {
		if !qualifiedName(key) {
			c.add(at.Key(key), "is no label key (a name, with a DNS name and a slash before it or not)")
		}
		if !labelValue(value) {
			c.add(at.Key(key), "%s is no label value: letters, digits, '-', '_' and '.', at most 63", quoted(value))
		}
	}
}

func (c *compiler) checkToleration(t *corev1.Toleration, index int) {
	at := func(name string) *field.Path { return podPath.Child("tolerations").Index(index).Child(name) }
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		if t.Key == "" {
			c.add(at("operator"), "must be Exists where the key is empty")
		}
		if !labelValue(t.Value) {
			c.add(at("value"), "is %s, which no taint can have", quoted(t.Value))
		}
	case corev1.TolerationOpExists:
		if t.Value != "" {
			c.add(at("value"), "must be empty with operator Exists")
		}
	default:
		c.add(at("operator"), "is %s, must be Equal or Exists", quoted(t.Operator))
	}
	if t.Key != "" && !qualifiedName(t.Key) {
		c.add(at("key"), "is %s, which no taint can have", quoted(t.Key))
	}
	switch t.Effect {
	case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
	default:
		c.add(at("effect"), "is %s, must be NoSchedule, PreferNoSchedule or NoExecute", quoted(t.Effect))
	}
	if t.TolerationSeconds != nil && t.Effect != corev1.TaintEffectNoExecute {
		c.add(at("tolerationSeconds"), "needs effect: NoExecute")
	}
}

// checkVolumes returns the names of the volumes.
func (c *compiler) checkVolumes(spec *corev1.PodSpec) map[string]bool {
	names := make(map[string]bool, len(spec.Volumes))
	for i := range spec.Volumes {
		name := spec.Volumes[i].Name
		if !dnsLabel(name) {
			c.add(podPath.Child("volumes").Index(i).Child("name"), "is %s, must be a DNS label: lower-case letters, digits and '-', at most 63", quoted(name))
		} else if names[name] {
			c.add(podPath.Child("volumes").Index(i).Child("name"), "is %s, which an earlier volume has already", quoted(name))
		}
		names[name] = true
		c.checkClaimTemplate(&spec.Volumes[i], i)
	}
	return names
}

func (c *compiler) checkClaimTemplate(volume *corev1.Volume, index int) {
	if volume.Ephemeral == nil || volume.Ephemeral.VolumeClaimTemplate == nil {
		return
	}
	given := volume.Ephemeral.VolumeClaimTemplate.ObjectMeta
	if !reflect.DeepEqual(given, metav1.ObjectMeta{Labels: given.Labels, Annotations: given.Annotations}) {
		c.add(podPath.Child("volumes").Index(index).Child("ephemeral", "volumeClaimTemplate", "metadata"), "may have labels and annotations only")
	}
}

func (c *compiler) checkContainers(spec *corev1.PodSpec, volumes map[string]bool) {
	for i := range spec.Containers {
		if sidecar(&spec.Containers[i]) {
			c.add(podPath.Child("containers").Index(i).Child("restartPolicy"), "is Always, which only init containers may have (as sidecars)")
		}
	}
	volumesKnown := !c.spoils(podPath.Child("volumes"))
	names := make(map[string]bool, len(spec.InitContainers)+len(spec.Containers))
	c.containers(spec, func(at *field.Path, container *corev1.Container) {
		switch name := container.Name; {
		case name == "":
			c.add(at.Child("name"), "is required")
		case !dnsLabel(name):
			c.add(at.Child("name"), "is %s, must be a DNS label: lower-case letters, digits and '-', at most 63", quoted(name))
		case names[name]:
			c.add(at.Child("name"), "is %s, which another container has already", quoted(name))
		}
		names[container.Name] = true
		c.checkContainer(container, at)
		if volumesKnown {
			c.checkMounts(container, volumes, at)
		}
	})
}

func (c *compiler) checkContainer(container *corev1.Container, at *field.Path) {
	for i := range container.Env {
		if container.Env[i].Name == "" {
			c.add(at.Child("env").Index(i).Child("name"), "is required")
		}
	}
	if policy := container.RestartPolicy; policy != nil {
		c.choice(at.Child("restartPolicy"), string(*policy), string(corev1.ContainerRestartPolicyAlways),
			string(corev1.ContainerRestartPolicyNever), string(corev1.ContainerRestartPolicyOnFailure))
	}
	if policy := container.ImagePullPolicy; policy != "" {
		c.choice(at.Child("imagePullPolicy"), string(policy), string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever))
	}
	for i := range container.Ports {
		if port := container.Ports[i].ContainerPort; port < 1 || port > 65535 {
			c.add(at.Child("ports").Index(i).Child("containerPort"), "is %d, must be from 1 to 65535", port)
		}
	}
	if len(container.Resources.Claims) > 0 {
		c.add(at.Child("resources", "claims"), "is not accepted: placement does not know which devices a region has; use an extended resource such as nvidia.com/gpu")
	}
	c.checkResources(&container.Resources, at.Child("resources"))
}

func (c *compiler) checkMounts(container *corev1.Container, volumes map[string]bool, at *field.Path) {
	paths := make(map[string]bool, len(container.VolumeMounts))
	for i := range container.VolumeMounts {
		mount := &container.VolumeMounts[i]
		if !volumes[mount.Name] {
			c.add(at.Child("volumeMounts").Index(i).Child("name"), "is %s, which is no volume of the pod", quoted(mount.Name))
		}
		if mount.MountPath == "" {
			c.add(at.Child("volumeMounts").Index(i).Child("mountPath"), "is required")
		} else if paths[mount.MountPath] {
			c.add(at.Child("volumeMounts").Index(i).Child("mountPath"), "is %s, which an earlier mount has already", quoted(mount.MountPath))
		}
		paths[mount.MountPath] = true
	}
	for i := range container.VolumeDevices {
		if name := container.VolumeDevices[i].Name; !volumes[name] {
			c.add(at.Child("volumeDevices").Index(i).Child("name"), "is %s, which is no volume of the pod", quoted(name))
		}
	}
}

// sidecar tells whether an init container keeps running beside the others.
func sidecar(container *corev1.Container) bool {
	return container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
}
