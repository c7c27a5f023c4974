package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// fieldManager owns what this runtime applies.
const fieldManager = "gco"

// client speaks to one cluster's API, in the few kinds that are needed. The
// clients that k8s.io/client-go generates for every kind there is would double
// what the program is compiled from; see docs/decisions.
type client struct {
	batch, core, coordination *rest.RESTClient
	parameters                runtime.ParameterCodec
	// timeout bounds a call that streams nothing.
	timeout time.Duration
}

// LoadConfig reads how to reach a cluster: from the file, from the one that
// KUBECONFIG or the home directory names, or from the pod that this process
// runs in. context names one of the file's contexts; empty is its current one.
func LoadConfig(file, context string) (*rest.Config, error) {
	if file == "" && context == "" {
		if config, err := rest.InClusterConfig(); err == nil {
			return config, nil
		} else if !errors.Is(err, rest.ErrNotInCluster) {
			return nil, fmt.Errorf("reading this pod's credentials: %w", err)
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading how to reach the cluster: %w", err)
	}
	return config, nil
}

func newClient(config *rest.Config, timeout time.Duration) (*client, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{batchv1.AddToScheme, corev1.AddToScheme, coordinationv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("preparing the cluster's client: %w", err)
		}
	}
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	c := &client{parameters: runtime.NewParameterCodec(scheme), timeout: timeout}
	codecs := serializer.NewCodecFactory(scheme).WithoutConversion()
	for _, group := range []struct {
		version schema.GroupVersion
		path    string
		to      **rest.RESTClient
	}{
		{batchv1.SchemeGroupVersion, "/apis", &c.batch},
		{corev1.SchemeGroupVersion, "/api", &c.core},
		{coordinationv1.SchemeGroupVersion, "/apis", &c.coordination},
	} {
		one := rest.CopyConfig(config)
		one.GroupVersion, one.APIPath, one.NegotiatedSerializer = &group.version, group.path, codecs
		one.UserAgent = rest.DefaultKubernetesUserAgent() + "/gco-agent"
		one.AcceptContentTypes, one.ContentType = "application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf"
		// The agent bounds what it does at a time, and the server what it takes
		// (429); a third bound would only add waits that nobody can see.
		one.QPS = -1
		client, err := rest.RESTClientFor(one)
		if err != nil {
			return nil, fmt.Errorf("preparing the cluster's client: %w", err)
		}
		*group.to = client
	}
	return c, nil
}

// bounded limits a call that streams nothing.
func (c *client) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.timeout)
}

// clusterID is the UID of the kube-system namespace, which lives as long as
// its cluster.
func (c *client) clusterID(ctx context.Context) (string, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var namespace corev1.Namespace
	if err := c.core.Get().Resource("namespaces").Name(metav1.NamespaceSystem).Do(ctx).Into(&namespace); err != nil {
		return "", fmt.Errorf("reading the namespace %s, whose UID identifies the cluster: %w", metav1.NamespaceSystem, err)
	}
	return string(namespace.UID), nil
}

// applyJob is a server-side apply.
func (c *client) applyJob(ctx context.Context, namespace, name string, object []byte) (*batchv1.Job, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var applied batchv1.Job
	err := c.batch.Patch(types.ApplyPatchType).Namespace(namespace).Resource("jobs").Name(name).
		Param("fieldManager", fieldManager).Param("fieldValidation", metav1.FieldValidationStrict).
		// So that a call which this process gave up does not take effect later.
		Timeout(c.timeout).
		Body(object).Do(ctx).Into(&applied)
	if err != nil {
		return nil, err
	}
	return &applied, nil
}

// ownJobs lists the Jobs that carry the manager's label, as they are now.
func (c *client) ownJobs(ctx context.Context) ([]batchv1.Job, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	options := metav1.ListOptions{LabelSelector: ownSelector}
	var all []batchv1.Job
	for {
		var page batchv1.JobList
		options.Limit = 500
		if err := c.batch.Get().Resource("jobs").VersionedParams(&options, c.parameters).Do(ctx).Into(&page); err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if options.Continue = page.Continue; options.Continue == "" {
			return all, nil
		}
	}
}

func (c *client) job(ctx context.Context, namespace, name string) (*batchv1.Job, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var found batchv1.Job
	if err := c.batch.Get().Namespace(namespace).Resource("jobs").Name(name).Do(ctx).Into(&found); err != nil {
		return nil, err
	}
	return &found, nil
}

// deleteJob deletes exactly the Job with this UID; one that is gone is fine.
func (c *client) deleteJob(ctx context.Context, namespace, name string, uid types.UID, propagation metav1.DeletionPropagation) error {
	return c.delete(ctx, c.batch, "jobs", namespace, name, metav1.DeleteOptions{
		PropagationPolicy: &propagation, Preconditions: &metav1.Preconditions{UID: &uid},
	})
}

// deletePod ends a pod within grace, if that is shorter than what it has; a
// negative grace leaves it its own.
func (c *client) deletePod(ctx context.Context, namespace, name string, uid types.UID, grace time.Duration) error {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}}
	if grace >= 0 {
		seconds := int64(max(grace.Seconds(), 1))
		options.GracePeriodSeconds = &seconds
	}
	return c.delete(ctx, c.core, "pods", namespace, name, options)
}

func (c *client) delete(ctx context.Context, in *rest.RESTClient, resource, namespace, name string, options metav1.DeleteOptions) error {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	body, err := json.Marshal(options)
	if err != nil {
		return fmt.Errorf("encoding a deletion: %w", err)
	}
	err = in.Delete().Namespace(namespace).Resource(resource).Name(name).
		SetHeader("Content-Type", runtime.ContentTypeJSON).Body(body).Do(ctx).Error()
	if gone(err) {
		return nil
	}
	return err
}

// gone tells whether there is nothing left to delete: no such object, or
// another one of the same name.
func gone(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) }

// exists asks for no more than the metadata of an object.
func (c *client) exists(ctx context.Context, resource, namespace, name string) (bool, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	err := c.core.Get().Namespace(namespace).Resource(resource).Name(name).
		SetHeader("Accept", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io").Do(ctx).Error()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// events lists what the cluster says of one object.
func (c *client) events(ctx context.Context, namespace string, uid types.UID) ([]corev1.Event, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var list corev1.EventList
	options := metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(uid), Limit: maxEvents}
	err := c.core.Get().Namespace(namespace).Resource("events").VersionedParams(&options, c.parameters).Do(ctx).Into(&list)
	return list.Items, err
}

// podLogs streams what one container wrote.
func (c *client) podLogs(ctx context.Context, namespace, pod string, options *corev1.PodLogOptions) (io.ReadCloser, error) {
	return c.core.Get().Namespace(namespace).Resource("pods").Name(pod).SubResource("log").
		VersionedParams(options, c.parameters).Stream(ctx)
}

func (c *client) lease(ctx context.Context, namespace, name string) (*coordinationv1.Lease, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	var found coordinationv1.Lease
	if err := c.coordination.Get().Namespace(namespace).Resource("leases").Name(name).Do(ctx).Into(&found); err != nil {
		return nil, err
	}
	return &found, nil
}

// writeLease creates the Lease if it has no resource version yet, and replaces
// exactly that version otherwise.
func (c *client) writeLease(ctx context.Context, l *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	ctx, cancel := c.bounded(ctx)
	defer cancel()
	call := c.coordination.Post()
	if l.ResourceVersion != "" {
		call = c.coordination.Put().Name(l.Name)
	}
	var written coordinationv1.Lease
	err := call.Namespace(l.Namespace).Resource("leases").Timeout(c.timeout).Body(l).Do(ctx).Into(&written)
	if err != nil {
		return nil, err
	}
	return &written, nil
}
