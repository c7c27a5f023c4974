package local

import (
	"fmt"
	"maps"
	"math"
	"os"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// env compiles a container's variables. What is the same for every pod is
// resolved here; the rest is left to the supervisor.
func (c *compiler) env(at string, from *corev1.Container) []attempt.EnvVar {
	out := make([]attempt.EnvVar, 0, len(from.Env))
	for i, variable := range from.Env {
		at := fmt.Sprintf("%s.env[%d] (%s)", at, i, variable.Name)
		c.refuse(variable.Name == "" || strings.ContainsAny(variable.Name, "=\x00"), "%s: not the name of a variable", at)
		c.refuse(strings.Contains(variable.Value, "\x00"), "%s: the value holds a NUL", at)
		if variable.ValueFrom == nil {
			out = append(out, attempt.EnvVar{Name: variable.Name, Value: variable.Value})
			continue
		}
		if compiled, ok := c.valueFrom(at, variable.ValueFrom, from); ok {
			compiled.Name = variable.Name
			out = append(out, compiled)
		}
	}
	return out
}

// valueFrom resolves a reference; false leaves the variable out.
func (c *compiler) valueFrom(at string, source *corev1.EnvVarSource, container *corev1.Container) (attempt.EnvVar, bool) {
	switch {
	case source.FieldRef != nil:
		return c.field(at, source.FieldRef.FieldPath), true
	case source.ResourceFieldRef != nil:
		return attempt.EnvVar{Value: c.resourceField(at, source.ResourceFieldRef, container), Verbatim: true}, true
	case source.SecretKeyRef != nil:
		ref := source.SecretKeyRef
		c.refuse(!deref(ref.Optional), "%s refers to key %s of secret %s: the local runtime has no secrets", at, ref.Key, ref.Name)
	case source.ConfigMapKeyRef != nil:
		ref := source.ConfigMapKeyRef
		c.refuse(!deref(ref.Optional), "%s refers to key %s of config map %s: the local runtime has no config maps", at, ref.Key, ref.Name)
	default:
		c.refuse(true, "%s: this kind of valueFrom is not supported by the local runtime", at)
	}
	return attempt.EnvVar{}, false
}

// field resolves a fieldPath of the downward API.
func (c *compiler) field(at, path string) attempt.EnvVar {
	constant := func(value string) attempt.EnvVar { return attempt.EnvVar{Value: value, Verbatim: true} }
	if name, key, subscripted := subscript(path); subscripted {
		switch name {
		case "metadata.labels":
			if key == "batch.kubernetes.io/job-completion-index" {
				return attempt.EnvVar{Field: attempt.FieldIndex}
			}
			return constant(c.labels()[key])
		case "metadata.annotations":
			if key == "batch.kubernetes.io/job-completion-index" {
				return attempt.EnvVar{Field: attempt.FieldIndex}
			}
			return constant(c.job.Spec.Template.Annotations[key])
		}
	}
	switch path {
	case attempt.FieldName, attempt.FieldUID, attempt.FieldNode:
		return attempt.EnvVar{Field: path}
	case "metadata.namespace":
		return constant(c.attempt.Namespace)
	case "spec.serviceAccountName":
		return constant(c.spec.ServiceAccountName)
	case "status.hostIP", "status.podIP", "status.hostIPs", "status.podIPs":
		return constant("127.0.0.1")
	}
	c.refuse(true, "%s: the local runtime does not know the field %s", at, path)
	return attempt.EnvVar{}
}

// subscript splits metadata.labels['key'].
func subscript(path string) (name, key string, ok bool) {
	name, rest, ok := strings.Cut(path, "['")
	if !ok {
		return "", "", false
	}
	key, ok = strings.CutSuffix(rest, "']")
	return name, key, ok
}

// labels are those of the pods: the template's, and those that Kubernetes
// adds.
func (c *compiler) labels() map[string]string {
	labels := map[string]string{"job-name": c.attempt.Name, "batch.kubernetes.io/job-name": c.attempt.Name}
	maps.Copy(labels, c.job.Spec.Template.Labels)
	return labels
}

// resourceField resolves what a container requests or is limited to, in units
// of the divisor, rounded up.
func (c *compiler) resourceField(at string, ref *corev1.ResourceFieldSelector, container *corev1.Container) string {
	if ref.ContainerName != "" && ref.ContainerName != container.Name {
		found := c.containerNamed(ref.ContainerName)
		if found == nil {
			c.refuse(true, "%s: there is no container %s", at, ref.ContainerName)
			return ""
		}
		container = found
	}
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := container.Resources.Limits
	switch kind {
	case "limits":
	case "requests":
		list = container.Resources.Requests
		if _, asked := list[corev1.ResourceName(name)]; !asked {
			list = container.Resources.Limits
		}
	default:
		c.refuse(true, "%s: the local runtime does not know the resource field %s", at, ref.Resource)
		return ""
	}
	return inUnits(list[corev1.ResourceName(name)], ref.Divisor)
}

func (c *compiler) containerNamed(name string) *corev1.Container {
	for _, list := range [][]corev1.Container{c.spec.InitContainers, c.spec.Containers} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

func inUnits(amount, divisor resource.Quantity) string {
	unit := divisor.AsApproximateFloat64()
	if unit <= 0 {
		unit = 1
	}
	return fmt.Sprintf("%.0f", math.Ceil(amount.AsApproximateFloat64()/unit))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
