package kubelet

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/api/v1/resource"
	"k8s.io/kubernetes/pkg/fieldpath"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// environment is the variables of one run of a container, in order.
type environment struct {
	names  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if _, known := e.values[name]; !known {
		e.names = append(e.names, name)
	}
	e.values[name] = value
}

func (e *environment) list() []string {
	list := make([]string, 0, len(e.names))
	for _, name := range e.names {
		list = append(list, name+"="+e.values[name])
	}
	return list
}

// expand replaces $(NAME) by the variable's value.
func (e *environment) expand(texts []string) []string {
	mapping := expansion.MappingFuncFor(e.values)
	for i, text := range texts {
		texts[i] = expansion.Expand(text, mapping)
	}
	return texts
}

// environment gathers the container's variables. What they refer to and the
// cluster lacks is a refusal.
func (c *container) environment(ctx context.Context) (*environment, error) {
	e := &environment{values: map[string]string{}}
	e.set("PATH", os.Getenv("PATH"))
	e.set("HOME", c.dir())
	e.set("TMPDIR", c.dir())
	e.set("HOSTNAME", c.pod.object.Name)
	for _, source := range c.spec.EnvFrom {
		if err := c.importFrom(ctx, e, source); err != nil {
			return nil, err
		}
	}
	for i := range c.spec.Env {
		variable := &c.spec.Env[i]
		value := expansion.Expand(variable.Value, expansion.MappingFuncFor(e.values))
		if from := variable.ValueFrom; from != nil {
			var missing bool
			var err error
			if value, missing, err = c.valueFrom(ctx, from); err != nil {
				return nil, err
			}
			if missing {
				continue
			}
		}
		// Where a manifest names the file of the termination message, it means
		// that of its own container; without mounts each has another path.
		if value == c.spec.TerminationMessagePath {
			value = c.messageFile()
		}
		e.set(variable.Name, value)
	}
	name, value, _ := strings.Cut(c.marker(), "=")
	e.set(name, value)
	return e, nil
}

// importFrom adds every key of a ConfigMap or a Secret.
func (c *container) importFrom(ctx context.Context, e *environment, source corev1.EnvFromSource) error {
	var values map[string]string
	var err error
	switch {
	case source.ConfigMapRef != nil:
		values, err = c.configMap(ctx, source.ConfigMapRef.Name, source.ConfigMapRef.Optional)
	case source.SecretRef != nil:
		values, err = c.secret(ctx, source.SecretRef.Name, source.SecretRef.Optional)
	}
	if err != nil {
		return err
	}
	keys := make([]string, 0, len(values))
	for key := range values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		e.set(source.Prefix+key, values[key])
	}
	return nil
}

func (c *container) valueFrom(ctx context.Context, from *corev1.EnvVarSource) (value string, missing bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = c.field(from.FieldRef.FieldPath)
	case from.ResourceFieldRef != nil:
		value, err = resource.ExtractResourceValueByContainerName(from.ResourceFieldRef, c.pod.object, c.spec.Name)
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		var values map[string]string
		if values, err = c.configMap(ctx, ref.Name, ref.Optional); err == nil {
			return pick(values, ref.Key, ref.Name, ref.Optional)
		}
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		var values map[string]string
		if values, err = c.secret(ctx, ref.Name, ref.Optional); err == nil {
			return pick(values, ref.Key, ref.Name, ref.Optional)
		}
	default:
		err = &refusal{reasonConfig, "kubelab knows variables of fields, resources, ConfigMaps and Secrets only"}
	}
	return value, false, err
}

// reasonConfig is a kubelet's word for what a container refers to in vain.
const reasonConfig = "CreateContainerConfigError"

// field reads a field of the pod.
func (c *container) field(path string) (string, error) {
	switch path {
	case "spec.nodeName":
		return c.pod.object.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return c.pod.object.Spec.ServiceAccountName, nil
	case "status.podIP", "status.hostIP", "status.podIPs", "status.hostIPs":
		return "127.0.0.1", nil
	}
	value, err := fieldpath.ExtractFieldPathAsString(c.pod.object, path)
	if err != nil {
		return "", &refusal{reasonConfig, err.Error()}
	}
	return value, nil
}

func (c *container) configMap(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	found, err := c.pod.kubelet.options.Client.CoreV1().ConfigMaps(c.pod.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, lacking("configmap", name, optional, err)
	}
	return found.Data, nil
}

func (c *container) secret(ctx context.Context, name string, optional *bool) (map[string]string, error) {
	found, err := c.pod.kubelet.options.Client.CoreV1().Secrets(c.pod.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, lacking("secret", name, optional, err)
	}
	values := map[string]string{}
	for key, value := range found.Data {
		values[key] = string(value)
	}
	return values, nil
}

func lacking(kind, name string, optional *bool, err error) error {
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return nil
	}
	return &refusal{reasonConfig, fmt.Sprintf("%s %q: %v", kind, name, err)}
}

func pick(values map[string]string, key, name string, optional *bool) (value string, missing bool, err error) {
	value, found := values[key]
	switch {
	case found:
		return value, false, nil
	case optional != nil && *optional:
		return "", true, nil
	default:
		return "", false, &refusal{reasonConfig, fmt.Sprintf("couldn't find key %s in %q", key, name)}
	}
}
