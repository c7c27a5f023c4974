// Package deploy_test holds what is in the repository's deploy/ against a real
// API server.
package deploy_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/kubelab"
	"github.com/gco-project/gco/internal/kubelab/kubelabtest"
)

// manifests is the folder that is tested.
var manifests = filepath.Join("..", "..", "deploy")

// world is a cluster with clients for all kinds.
type world struct {
	cluster *kubelab.Cluster
	config  *rest.Config
	client  *kubernetes.Clientset
	dynamic *dynamic.DynamicClient
	mapper  meta.RESTMapper
}

func open(t *testing.T) *world {
	t.Helper()
	w := &world{cluster: kubelabtest.Start(t, "")}
	var err error
	if w.config, err = clientcmd.BuildConfigFromFlags("", w.cluster.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	if w.client, err = kubernetes.NewForConfig(w.config); err != nil {
		t.Fatal(err)
	}
	if w.dynamic, err = dynamic.NewForConfig(w.config); err != nil {
		t.Fatal(err)
	}
	w.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(w.client.Discovery()))
	return w
}

// render builds a folder of deploy/ as kubectl kustomize does.
func render(t *testing.T, folder string) []*unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(manifests, folder))
	if err != nil {
		t.Fatalf("rendering deploy/%s: %v", folder, err)
	}
	var objects []*unstructured.Unstructured
	for _, one := range built.Resources() {
		text, err := one.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
	return objects
}

// apply applies an object on the server's side; dry is only to hear what it
// says of it.
func (w *world) apply(ctx context.Context, object *unstructured.Unstructured, dry bool) error {
	kind := object.GroupVersionKind()
	mapping, err := w.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	text, err := json.Marshal(object)
	if err != nil {
		return err
	}
	options := metav1.PatchOptions{FieldManager: "test", FieldValidation: metav1.FieldValidationStrict}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	resources := dynamic.ResourceInterface(w.dynamic.Resource(mapping.Resource))
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		resources = w.dynamic.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	_, err = resources.Patch(ctx, object.GetName(), types.ApplyPatchType, text, options)
	return err
}

// applyAll applies those objects whose kind is one of these.
func (w *world) applyAll(t *testing.T, objects []*unstructured.Unstructured, kinds ...string) {
	t.Helper()
	for _, object := range objects {
		if !slices.Contains(kinds, object.GetKind()) {
			continue
		}
		if err := w.apply(t.Context(), object, false); err != nil {
			t.Fatalf("applying %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

// rbac are the kinds that say who may do what.
var rbac = []string{"Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}

func TestDeploy(t *testing.T) {
	w := open(t)
	example := render(t, "example")
	// An object can't be tried in a namespace that is not there.
	w.applyAll(t, example, "Namespace")
	t.Run("every object is accepted", func(t *testing.T) {
		for _, object := range example {
			if err := w.apply(t.Context(), object, true); err != nil {
				t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
			}
		}
	})
	t.Run("what is wrong is not", func(t *testing.T) {
		for _, object := range example {
			wrong := object.DeepCopy()
			wrong.Object["specification"] = "unknown"
			if w.apply(t.Context(), wrong, true) == nil {
				t.Errorf("%s %s with an unknown field was accepted", object.GetKind(), object.GetName())
			}
		}
	})
	t.Run("pods keep to the restricted standard", func(t *testing.T) { podsAreRestricted(t, w, example) })
	t.Run("the agent may do what it needs, and no more", func(t *testing.T) {
		w.applyAll(t, example, rbac...)
		agentMayDoNoMore(t, w)
	})
}

// podsAreRestricted tries the pods themselves: the standard is not enforced on
// what makes them.
func podsAreRestricted(t *testing.T, w *world, objects []*unstructured.Unstructured) {
	w.applyAll(t, objects, "ServiceAccount")
	tried := 0
	for _, object := range objects {
		if kind := object.GetKind(); kind != "Deployment" && kind != "StatefulSet" {
			continue
		}
		spec, _, err := unstructured.NestedMap(object.Object, "spec", "template", "spec")
		if err != nil {
			t.Fatal(err)
		}
		pod := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Pod", "spec": spec,
			"metadata": map[string]any{"name": object.GetName() + "-0", "namespace": object.GetNamespace()},
		}}
		if volumes, found, _ := unstructured.NestedSlice(object.Object, "spec", "volumeClaimTemplates"); found {
			for _, one := range volumes {
				name, _, _ := unstructured.NestedString(one.(map[string]any), "metadata", "name") //nolint:forcetypeassert // as rendered
				have, _, _ := unstructured.NestedSlice(pod.Object, "spec", "volumes")
				have = append(have, map[string]any{"name": name, "persistentVolumeClaim": map[string]any{"claimName": name}})
				if err := unstructured.SetNestedSlice(pod.Object, have, "spec", "volumes"); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.apply(t.Context(), pod, true); err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
		tried++
		privileged := pod.DeepCopy()
		if err := unstructured.SetNestedField(privileged.Object, true, "spec", "hostNetwork"); err != nil {
			t.Fatal(err)
		}
		if err := w.apply(t.Context(), privileged, true); err == nil || !strings.Contains(err.Error(), "restricted") {
			t.Errorf("a pod of %s in its node's network: %v", object.GetName(), err)
		}
	}
	if tried != 2 {
		t.Errorf("%d workloads were tried", tried)
	}
}

// agentMayDoNoMore asks the API server about the agent's account.
func agentMayDoNoMore(t *testing.T, w *world) {
	for _, test := range []struct {
		may                              bool
		verb, group, resource, sub, name string
		namespace                        string
	}{
		{may: true, verb: "list", resource: "nodes"},
		{may: true, verb: "watch", resource: "pods"},
		{may: true, verb: "watch", resource: "events"},
		{may: true, verb: "watch", group: "batch", resource: "jobs"},
		{may: true, verb: "get", resource: "namespaces", name: "kube-system"},
		{may: true, verb: "patch", group: "batch", resource: "jobs", namespace: "default"},
		{may: true, verb: "create", group: "batch", resource: "jobs", namespace: "team-a"},
		{may: true, verb: "delete", group: "batch", resource: "jobs", namespace: "default"},
		{may: true, verb: "delete", resource: "pods", namespace: "default"},
		{may: true, verb: "get", resource: "pods", sub: "log", namespace: "default"},
		{may: true, verb: "get", resource: "configmaps", namespace: "default"},
		{may: true, verb: "create", group: "coordination.k8s.io", resource: "leases", namespace: "gco-system"},
		{may: true, verb: "update", group: "coordination.k8s.io", resource: "leases", name: "gco-agent", namespace: "gco-system"},

		{verb: "create", group: "batch", resource: "jobs", namespace: "kube-system"},
		{verb: "delete", group: "batch", resource: "jobs", namespace: "gco-system"},
		{verb: "create", resource: "pods", namespace: "default"},
		{verb: "create", resource: "pods", sub: "exec", namespace: "default"},
		{verb: "delete", resource: "pods", namespace: "kube-system"},
		{verb: "list", resource: "secrets", namespace: "default"},
		{verb: "get", resource: "secrets", namespace: "gco-system"},
		{verb: "get", resource: "pods", sub: "log", namespace: "kube-system"},
		{verb: "patch", resource: "nodes"},
		{verb: "get", resource: "namespaces", name: "default"},
		{verb: "update", group: "coordination.k8s.io", resource: "leases", name: "another", namespace: "gco-system"},
		{verb: "get", group: "coordination.k8s.io", resource: "leases", name: "gco-agent", namespace: "kube-system"},
		{verb: "impersonate", resource: "users"},
		{verb: "create", group: "rbac.authorization.k8s.io", resource: "rolebindings", namespace: "default"},
	} {
		attributes := authorizationv1.ResourceAttributes{
			Verb: test.verb, Group: test.group, Resource: test.resource, Subresource: test.sub, Name: test.name, Namespace: test.namespace,
		}
		// The API server takes notice of new roles a little later, so what is
		// allowed may not be so yet; what is not never was.
		allowed := w.agentMay(t, attributes)
		if test.may && !allowed {
			err := wait.PollUntilContextTimeout(t.Context(), pause, patience, false, func(context.Context) (bool, error) {
				allowed = w.agentMay(t, attributes)
				return allowed, nil
			})
			if err != nil && !wait.Interrupted(err) {
				t.Fatal(err)
			}
		}
		if allowed != test.may {
			t.Errorf("allowed is %t, not %t: %+v", allowed, test.may, attributes)
		}
	}
}

// patience is how long anything may take on a busy machine, pause how often it
// is asked about.
const (
	patience = time.Minute
	pause    = 50 * time.Millisecond
)

func (w *world) agentMay(t *testing.T, attributes authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review, err := w.client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "system:serviceaccount:gco-system:gco-agent", ResourceAttributes: &attributes},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// The files that the bases bring along are read as gco reads them.
func TestConfigurationsAreValid(t *testing.T) {
	for _, base := range []string{"server", "agent"} {
		text, err := os.ReadFile(filepath.Join(manifests, base, "gco.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := config.Parse(base+"/gco.yaml", text); err != nil {
			t.Error(err)
		}
	}
}

// Every folder is one that the example shows, so that none is left untested.
func TestTheExampleHasEveryBase(t *testing.T) {
	count := func(folder string) int { return len(render(t, folder)) }
	const ofItsOwn = 2 // a namespace for jobs, and what binds it
	if all := count("namespace") + count("server") + count("agent") + ofItsOwn; count("example") != all {
		t.Errorf("the example has %d objects, and its bases %d", count("example"), all)
	}
}
