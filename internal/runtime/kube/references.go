package kube

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gco-project/gco/internal/runtime"
)

// reference is an object that a pod can't start without.
type reference struct{ kind, resource, name string }

// checkReferences rejects an attempt whose pods would wait for ever for what
// the region does not have. What the agent may not look at counts as there: the
// cluster will say otherwise.
func (r *Runtime) checkReferences(ctx context.Context, namespace string, pod *corev1.PodSpec) error {
	var missing []string
	seen := map[reference]bool{}
	for _, ref := range references(pod) {
		if seen[ref] {
			continue
		}
		seen[ref] = true
		found, err := r.client.exists(ctx, ref.resource, namespace, ref.name)
		if err != nil && !apierrors.IsForbidden(err) {
			return fmt.Errorf("looking for %s %s/%s: %w", ref.kind, namespace, ref.name, err)
		}
		if err == nil && !found {
			missing = append(missing, ref.kind+" "+ref.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &runtime.Rejected{
		Reason: "MissingReference",
		Message: fmt.Sprintf("namespace %s of region %s lacks what the manifest refers to: %s; create it there, then retry the job",
			namespace, r.options.Region, strings.Join(missing, ", ")),
	}
}

// references lists what a pod refers to by name and can't do without.
func references(pod *corev1.PodSpec) []reference {
	var all []reference
	add := func(kind, resource, name string, optional *bool) {
		if name != "" && !deref(optional) {
			all = append(all, reference{kind, resource, name})
		}
	}
	secret := func(name string, optional *bool) { add("Secret", "secrets", name, optional) }
	config := func(name string, optional *bool) { add("ConfigMap", "configmaps", name, optional) }
	// The default account is made with its namespace.
	if pod.ServiceAccountName != "default" {
		add("ServiceAccount", "serviceaccounts", pod.ServiceAccountName, nil)
	}
	for i := range pod.Volumes {
		switch v := &pod.Volumes[i]; {
		case v.Secret != nil:
			secret(v.Secret.SecretName, v.Secret.Optional)
		case v.ConfigMap != nil:
			config(v.ConfigMap.Name, v.ConfigMap.Optional)
		case v.PersistentVolumeClaim != nil:
			add("PersistentVolumeClaim", "persistentvolumeclaims", v.PersistentVolumeClaim.ClaimName, nil)
		case v.Projected != nil:
			for _, s := range v.Projected.Sources {
				if s.Secret != nil {
					secret(s.Secret.Name, s.Secret.Optional)
				}
				if s.ConfigMap != nil {
					config(s.ConfigMap.Name, s.ConfigMap.Optional)
				}
			}
		}
	}
	for _, list := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range list {
			for _, from := range list[i].EnvFrom {
				if from.SecretRef != nil {
					secret(from.SecretRef.Name, from.SecretRef.Optional)
				}
				if from.ConfigMapRef != nil {
					config(from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
				}
			}
			for _, v := range list[i].Env {
				if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
					secret(v.ValueFrom.SecretKeyRef.Name, v.ValueFrom.SecretKeyRef.Optional)
				}
				if v.ValueFrom != nil && v.ValueFrom.ConfigMapKeyRef != nil {
					config(v.ValueFrom.ConfigMapKeyRef.Name, v.ValueFrom.ConfigMapKeyRef.Optional)
				}
			}
		}
	}
	return all
}
