package lab

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/kubelab/kubelet"
	"github.com/gco-project/gco/kubelab/nodes"
)

// cordonedBy marks the nodes that a fault closed, so that only those are
// opened again.
const cordonedBy = "kubelab.gco.dev/cordoned"

// kindOf remembers what a node is while a fault hides it.
const kindOf = "kubelab.gco.dev/kind"

// atOnce is how many nodes are written at the same time.
const atOnce = 16

// registry is the nodes as the API server has them.
type registry struct {
	client  kubernetes.Interface
	kubelet *kubelet.Kubelet
	clock   clock.PassiveClock
}

// register makes the cluster's nodes those that are wanted. Nodes that are
// there from an earlier start keep their state, and learn where the kubelet
// answers now. It returns the names of those that run commands.
func (r registry) register(ctx context.Context, wanted []*corev1.Node) (commanded []string, err error) {
	there, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, node := range wanted {
		present, known := there[node.Name]
		delete(there, node.Name)
		if node.Labels[nodes.KindLabel] == string(nodes.Process) {
			commanded = append(commanded, node.Name)
			r.kubelet.Silence(node.Name, known && present.Annotations[kindOf] != "")
		}
		group.Go(func() error {
			if !known {
				_, err := r.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
				return err
			}
			present.Status.DaemonEndpoints = node.Status.DaemonEndpoints
			_, err := r.client.CoreV1().Nodes().UpdateStatus(ctx, &present, metav1.UpdateOptions{})
			return err
		})
	}
	for name := range there {
		group.Go(func() error { return r.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{}) })
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("registering the nodes: %w", err)
	}
	return commanded, nil
}

// makeNamespaces makes those that are not there yet.
func (r registry) makeNamespaces(ctx context.Context, names []string) error {
	for _, name := range names {
		_, err := r.client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("making namespace %s: %w", name, err)
		}
	}
	return nil
}

// list returns the nodes by name.
func (r registry) list(ctx context.Context) (map[string]corev1.Node, error) {
	list, err := r.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	byName := map[string]corev1.Node{}
	for _, node := range list.Items {
		byName[node.Name] = node
	}
	return byName, nil
}

// setReady lets a node say that it is ready, that it is not, or nothing at
// all. What runs the pods of a node that is not ready stops doing so.
func (r registry) setReady(ctx context.Context, name string, status corev1.ConditionStatus) error {
	node, err := r.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	kind := node.Annotations[kindOf]
	if kind == "" {
		kind = node.Labels[nodes.KindLabel]
	}
	r.kubelet.Silence(name, status != corev1.ConditionTrue)
	label, remember := any(kind), any(nil)
	if status != corev1.ConditionTrue {
		label, remember = "not-ready", kind
	}
	patch := map[string]any{"metadata": map[string]any{
		"labels": map[string]any{nodes.KindLabel: label}, "annotations": map[string]any{kindOf: remember},
	}}
	if err := r.patch(ctx, name, patch); err != nil {
		return err
	}
	return r.patch(ctx, name, map[string]any{
		"status": map[string]any{"conditions": []corev1.NodeCondition{nodes.Ready(status, r.clock.Now())}},
	}, "status")
}

// setCordoned closes every open node to new pods, or opens those again.
func (r registry) setCordoned(ctx context.Context, cordoned bool) error {
	there, err := r.list(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for name, node := range there {
		_, ours := node.Annotations[cordonedBy]
		if cordoned == node.Spec.Unschedulable || !cordoned && !ours {
			continue
		}
		mark := any("true")
		if !cordoned {
			mark = nil
		}
		group.Go(func() error {
			return r.patch(ctx, name, map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{cordonedBy: mark}},
				"spec":     map[string]any{"unschedulable": cordoned},
			})
		})
	}
	return group.Wait()
}

func (r registry) patch(ctx context.Context, name string, patch any, subresource ...string) error {
	text, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = r.client.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, text, metav1.PatchOptions{}, subresource...)
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("changing node %s: %w", name, err)
	}
	return err
}
