package kube

import (
	"context"
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

var jobType = metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}

// The pauses before a watch is tried again: after a fault, and after the
// cluster has refused it.
const (
	firstWatchPause = 100 * time.Millisecond
	maxWatchPause   = 3 * time.Second
	deniedPause     = 30 * time.Second
)

// source is one kind of object that is watched.
type source struct {
	client   *rest.RESTClient
	resource string
	options  metav1.ListOptions
	object   kruntime.Object
	list     func() kruntime.Object
	sink     cache.ReflectorStore
}

// watchState is how a watch fares.
type watchState struct {
	synced bool
	err    error
}

// watchAll follows what is needed of the cluster until ctx ends.
func (r *Runtime) watchAll(ctx context.Context) {
	for _, s := range []source{
		{
			r.client.batch, "jobs",
			metav1.ListOptions{LabelSelector: ownSelector},
			&batchv1.Job{},
			func() kruntime.Object { return &batchv1.JobList{} },
			&sink[*batchv1.Job]{r, "jobs", r.takeIn, func(j *batchv1.Job) { r.vanished(j.UID) }, r.replaceJobs},
		},
		{
			r.client.core, "pods",
			metav1.ListOptions{},
			&corev1.Pod{},
			func() kruntime.Object { return &corev1.PodList{} },
			&sink[*corev1.Pod]{r, "pods", r.takePod, func(p *corev1.Pod) { r.dropPod(p.UID) }, r.replacePods},
		},
		{
			r.client.core, "nodes",
			metav1.ListOptions{},
			&corev1.Node{},
			func() kruntime.Object { return &corev1.NodeList{} },
			&sink[*corev1.Node]{r, "nodes", r.takeNode, r.dropNode, r.replaceNodes},
		},
		{
			// Why a Job has no pods stands nowhere else.
			r.client.core, "events",
			metav1.ListOptions{FieldSelector: "involvedObject.kind=Job,reason=FailedCreate"},
			&corev1.Event{},
			func() kruntime.Object { return &corev1.EventList{} },
			&sink[*corev1.Event]{r, "events", r.takeEvent, func(*corev1.Event) {}, r.replaceEvents},
		},
	} {
		r.loops.Go(func() { r.follow(ctx, s) })
	}
}

// follow lists and watches one kind again and again.
func (r *Runtime) follow(ctx context.Context, s source) {
	// What it would log is said by watchFailed, once.
	ctx = klog.NewContext(ctx, klog.Logger{})
	reflector := cache.NewReflectorWithOptions(r.listWatch(s), s.object, s.sink, cache.ReflectorOptions{
		Name:    s.resource,
		Backoff: &wait.Backoff{Duration: firstWatchPause, Factor: 2, Jitter: 1, Steps: 6, Cap: maxWatchPause},
	})
	for length := firstWatchPause; ctx.Err() == nil; length = min(2*length, maxWatchPause) {
		err := reflector.ListAndWatchWithContext(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			length = firstWatchPause
		}
		denied := r.watchFailed(s.resource, err)
		if denied {
			length = deniedPause
		}
		if pause(ctx, r.options.Clock, length) != nil {
			return
		}
		if denied {
			length = firstWatchPause
		}
	}
}

func (r *Runtime) listWatch(s source) cache.ListerWatcher {
	prepare := func(options metav1.ListOptions) *metav1.ListOptions {
		options.LabelSelector, options.FieldSelector = s.options.LabelSelector, s.options.FieldSelector
		return &options
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (kruntime.Object, error) {
			list := s.list()
			err := s.client.Get().Resource(s.resource).VersionedParams(prepare(options), r.client.parameters).Do(ctx).Into(list)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			options.Watch = true
			w, err := s.client.Get().Resource(s.resource).VersionedParams(prepare(options), r.client.parameters).Watch(ctx)
			if err != nil {
				r.watchFailed(s.resource, err)
			}
			return w, err
		},
	}
}

// watchFailed notes why a watch ended (nil: in good order), and tells whether
// the cluster refuses it. It logs what has changed.
func (r *Runtime) watchFailed(resource string, err error) (denied bool) {
	denied = apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err)
	if denied {
		err = fmt.Errorf("the agent may not watch the cluster's %s: grant it list and watch on them: %w", resource, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.watches[resource]
	if err != nil && (state.err == nil || state.err.Error() != err.Error()) {
		r.options.Log.Warn("watching the cluster", "region", r.options.Region, "resource", resource, "error", err)
	}
	if state.err = err; denied {
		state.synced = false
	}
	return denied
}

// needed are the watches without which nothing can be said.
var needed = []string{"jobs", "pods", "nodes"}

// synced tells whether the needed watches have brought all that there is; r.mu
// must be held.
func (r *Runtime) synced() bool {
	for _, resource := range needed {
		if !r.watches[resource].synced {
			return false
		}
	}
	return true
}

// sink takes what a watch brings into the runtime's memory.
type sink[T kruntime.Object] struct {
	runtime  *Runtime
	resource string
	add      func(T)
	remove   func(T)
	// replace takes all there is, and the version of that.
	replace func([]T, uint64)
}

func (s *sink[T]) Add(object any) error { return s.with(object, s.add) }

func (s *sink[T]) Update(object any) error { return s.with(object, s.add) }

func (s *sink[T]) Delete(object any) error { return s.with(object, s.remove) }

func (s *sink[T]) Resync() error { return nil }

func (s *sink[T]) with(object any, do func(T)) error {
	one, ok := object.(T)
	if !ok {
		return fmt.Errorf("watching %s: the cluster sent a %T", s.resource, object)
	}
	s.runtime.mu.Lock()
	defer s.runtime.mu.Unlock()
	s.runtime.watches[s.resource].err = nil
	do(one)
	return nil
}

func (s *sink[T]) Replace(objects []any, version string) error {
	all := make([]T, 0, len(objects))
	for _, object := range objects {
		one, ok := object.(T)
		if !ok {
			return fmt.Errorf("listing %s: the cluster sent a %T", s.resource, object)
		}
		all = append(all, one)
	}
	number, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return fmt.Errorf("listing %s: %w", s.resource, err)
	}
	r := s.runtime
	r.mu.Lock()
	defer r.mu.Unlock()
	s.replace(all, number)
	state := r.watches[s.resource]
	state.synced, state.err = true, nil
	r.snapshot = nil
	r.signal()
	r.poke()
	return nil
}

// replaceJobs takes a list of all Jobs. One that was applied after the list
// was made is not missed in it.
func (r *Runtime) replaceJobs(all []*batchv1.Job, version uint64) {
	here := map[types.UID]bool{}
	for _, j := range all {
		here[j.UID] = true
		r.takeIn(j)
	}
	for uid, h := range r.byUID {
		if !here[uid] && h.version <= version {
			r.vanished(uid)
		}
	}
	for uid := range r.forgotten {
		if !here[uid] {
			delete(r.forgotten, uid)
		}
	}
	for uid := range r.strays {
		if !here[uid] {
			delete(r.strays, uid)
		}
	}
}

// takePod notes what a pod is now.
func (r *Runtime) takePod(p *corev1.Pod) {
	now := readPod(p)
	before := r.pods[now.uid]
	if before != nil {
		now.killed = before.killed
	}
	r.account(before, now)
	r.pods[now.uid] = now
	if now.of == "" {
		if now.over {
			delete(r.pods, now.uid)
		}
		return
	}
	if r.podsOf[now.of] == nil {
		r.podsOf[now.of] = map[types.UID]*pod{}
	}
	r.podsOf[now.of][now.uid] = now
	if h := r.byUID[now.of]; h != nil {
		h.refused = nil
		r.look(h)
	} else if now.live() {
		r.loose[now.uid] = now // it may be an orphan
		r.poke()
	}
}

func (r *Runtime) dropPod(uid types.UID) {
	p := r.pods[uid]
	if p == nil {
		return
	}
	delete(r.pods, uid)
	r.account(p, nil)
	p.over = true
	if p.of == "" {
		return
	}
	h := r.byUID[p.of]
	if h == nil || len(r.podsOf[p.of]) > maxGone {
		delete(r.podsOf[p.of], uid)
		if len(r.podsOf[p.of]) == 0 {
			delete(r.podsOf, p.of)
		}
	}
	if h != nil {
		r.look(h)
	}
}

// maxGone is how many pods of an attempt are remembered before those that are
// gone are not. What they came to is needed for as long as the attempt is held.
const maxGone = 100

func (r *Runtime) replacePods(all []*corev1.Pod, _ uint64) {
	here := map[types.UID]bool{}
	for _, p := range all {
		here[p.UID] = true
		r.takePod(p)
	}
	for uid := range r.pods {
		if !here[uid] {
			r.dropPod(uid)
		}
	}
}

// takeEvent notes that a Job's pods could not be created.
func (r *Runtime) takeEvent(e *corev1.Event) {
	h := r.byUID[e.InvolvedObject.UID]
	if h == nil {
		return
	}
	at := e.LastTimestamp.Time
	if at.IsZero() {
		at = e.EventTime.Time
	}
	since := at
	if h.refused != nil {
		since = h.refused.since
	}
	h.refused = &trouble{refused, since, e.Reason, e.Message}
	r.look(h)
}

func (r *Runtime) replaceEvents(all []*corev1.Event, _ uint64) {
	for _, e := range all {
		r.takeEvent(e)
	}
}
