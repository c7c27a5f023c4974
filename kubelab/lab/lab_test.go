package lab_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gco-project/gco/internal/kubelab"
	"github.com/gco-project/gco/internal/kubelab/kubelabtest"
	"github.com/gco-project/gco/kubelab/nodes"
)

const someNodes = `
region: us-east-1
namespaces: [team-a]
nodes:
- {count: 20, instanceType: p5.48xlarge, zones: [us-east-1a], resources: {cpu: "192", memory: 2Ti, nvidia.com/gpu: "8"}}
- {count: 1, kind: process, resources: {cpu: "8", memory: 16Gi}}
`

// patience is how long anything may take on a busy machine.
const patience = time.Minute

// world is a cluster with a client.
type world struct {
	*testing.T
	cluster *kubelab.Cluster
	client  kubernetes.Interface
	ctx     context.Context
}

func (w *world) connect() {
	w.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", w.cluster.Kubeconfig)
	if err == nil {
		config.QPS = -1
		w.client, err = kubernetes.NewForConfig(config)
	}
	w.must(err)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// job is what the tests vary.
type job struct {
	name        string
	on          nodes.Kind
	annotations map[string]string
	gpus        string
	retries     int32
	pod         corev1.PodSpec
}

func (w *world) create(j job) {
	w.Helper()
	pod := j.pod
	pod.RestartPolicy = corev1.RestartPolicyNever
	pod.NodeSelector = map[string]string{nodes.KindLabel: string(j.on)}
	if len(pod.Containers) == 0 {
		pod.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	}
	if j.gpus != "" {
		pod.Containers[0].Resources.Limits = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse(j.gpus)}
	}
	_, err := w.client.BatchV1().Jobs("default").Create(w.ctx, &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: j.name},
		Spec: batchv1.JobSpec{
			BackoffLimit: &j.retries,
			Template:     corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: j.annotations}, Spec: pod},
		},
	}, metav1.CreateOptions{})
	w.must(err)
}

// awaitPod watches the pods of a job until one is as wanted.
func (w *world) awaitPod(job, what string, wanted func(*corev1.Pod) bool) *corev1.Pod {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	selector := metav1.ListOptions{LabelSelector: "job-name=" + job}
	pods := w.client.CoreV1().Pods("default")
	var last *corev1.Pod
	for ctx.Err() == nil {
		list, err := pods.List(ctx, selector)
		w.must(err)
		for i := range list.Items {
			if last = &list.Items[i]; wanted(last) {
				return last
			}
		}
		selector.ResourceVersion = list.ResourceVersion
		events, err := pods.Watch(ctx, selector)
		w.must(err)
		for event := range events.ResultChan() {
			pod, ok := event.Object.(*corev1.Pod)
			if ok && event.Type != watch.Deleted && wanted(pod) {
				events.Stop()
				return pod
			}
		}
		selector.ResourceVersion = ""
	}
	w.Fatalf("no pod of %s is %s; the last one seen: %+v", job, what, last.Status)
	return nil
}

func inPhase(phase corev1.PodPhase) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool { return pod.Status.Phase == phase }
}

func waitsFor(reason string) func(*corev1.Pod) bool {
	return func(pod *corev1.Pod) bool {
		statuses := pod.Status.ContainerStatuses
		return len(statuses) > 0 && statuses[0].State.Waiting != nil && statuses[0].State.Waiting.Reason == reason
	}
}

func unschedulable(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonUnschedulable {
			return true
		}
	}
	return false
}

// logs reads those of a container, with Follow until it ends.
func (w *world) logs(pod string, options corev1.PodLogOptions) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	stream, err := w.client.CoreV1().Pods("default").GetLogs(pod, &options).Stream(ctx)
	w.must(err)
	defer stream.Close()
	text, err := io.ReadAll(stream)
	w.must(err)
	return string(text)
}

func shell(script string) []string { return []string{"/bin/sh", "-c", script} }

// TestLab is one cluster for all that can share one.
func TestLab(t *testing.T) {
	w := &world{T: t, cluster: kubelabtest.Start(t, someNodes, "--toleration", "1s"), ctx: t.Context()}
	w.connect()
	for _, part := range []struct {
		name string
		run  func(*world)
	}{
		{"nodes are registered", (*world).nodesAreRegistered},
		{"simulated pods are played", (*world).simulatedPodsArePlayed},
		{"commands are run", (*world).commandsAreRun},
		{"what can't start waits", (*world).whatCannotStartWaits},
		{"deleting ends processes", (*world).deletingEndsProcesses},
		{"containers restart, sidecars end", (*world).containersRestart},
		{"no capacity", (*world).noCapacity},
		{"a node that is not ready", (*world).nodeNotReady},
		{"the API server stops", (*world).apiStops},
		{"faults that make no sense", (*world).senselessFaults},
	} {
		t.Run(part.name, func(t *testing.T) {
			at := *w
			at.T = t
			part.run(&at)
		})
	}
}

func (w *world) nodesAreRegistered() {
	list, err := w.client.CoreV1().Nodes().List(w.ctx, metav1.ListOptions{})
	w.must(err)
	if len(list.Items) != 21 {
		w.Errorf("%d nodes", len(list.Items))
	}
	if _, err := w.client.CoreV1().Namespaces().Get(w.ctx, "team-a", metav1.GetOptions{}); err != nil {
		w.Error(err)
	}
	if w.cluster.Version == "" || list.Items[0].Status.NodeInfo.KubeletVersion != w.cluster.Version {
		w.Errorf("the cluster says it is version %q, its nodes %q", w.cluster.Version, list.Items[0].Status.NodeInfo.KubeletVersion)
	}
}

func (w *world) simulatedPodsArePlayed() {
	w.create(job{name: "succeeds", on: nodes.Simulated, gpus: "1", annotations: map[string]string{"kubelab.gco.dev/runs": "50ms"}})
	w.create(job{name: "fails", on: nodes.Simulated, annotations: map[string]string{
		"kubelab.gco.dev/runs": "50ms", "kubelab.gco.dev/exit-code": "3", "kubelab.gco.dev/message": "out of luck",
	}})
	w.create(job{name: "pulls", on: nodes.Simulated, annotations: map[string]string{"kubelab.gco.dev/waiting": "ImagePullBackOff"}})
	pod := w.awaitPod("succeeds", "succeeded", inPhase(corev1.PodSucceeded))
	if said := w.logs(pod.Name, corev1.PodLogOptions{}); !strings.Contains(said, "simulated") {
		w.Errorf("it says %q", said)
	}
	failed := w.awaitPod("fails", "failed", inPhase(corev1.PodFailed)).Status.ContainerStatuses[0].State.Terminated
	if failed.ExitCode != 3 || failed.Message != "out of luck" {
		w.Errorf("it failed with %d and %q", failed.ExitCode, failed.Message)
	}
	w.awaitPod("pulls", "waiting", waitsFor("ImagePullBackOff"))
}

func (w *world) commandsAreRun() {
	_, err := w.client.CoreV1().ConfigMaps("default").Create(w.ctx, &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "settings"}, Data: map[string]string{"depth": "7"},
	}, metav1.CreateOptions{})
	w.must(err)
	w.create(job{name: "runs", on: nodes.Process, pod: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "first", Image: "none", Command: shell("echo before")}},
		Containers: []corev1.Container{{
			Name: "main", Image: "none", Command: shell(`echo "node $NODE depth $DEPTH $(GREETING)"; echo two >&2; echo -n 42 > "$RESULT"; exit 5`),
			Env: []corev1.EnvVar{
				{Name: "GREETING", Value: "hello"},
				{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
				{Name: "DEPTH", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
					LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "depth",
				}}},
				{Name: "RESULT", Value: corev1.TerminationMessagePathDefault},
			},
		}},
	}})
	pod := w.awaitPod("runs", "failed", inPhase(corev1.PodFailed))
	if ended := pod.Status.ContainerStatuses[0].State.Terminated; ended.ExitCode != 5 || ended.Message != "42" || ended.StartedAt.IsZero() {
		w.Errorf("it ended as %+v", ended)
	}
	if said := w.logs(pod.Name, corev1.PodLogOptions{Container: "main"}); !strings.Contains(said, "node process-0 depth 7 hello\n") || !strings.Contains(said, "two\n") {
		w.Errorf("it said %q", said)
	}
	if said := w.logs(pod.Name, corev1.PodLogOptions{Container: "first", Timestamps: true}); !strings.HasSuffix(said, "Z before\n") {
		w.Errorf("the init container said %q", said)
	}
	if said := w.logs(pod.Name, corev1.PodLogOptions{Container: "main", TailLines: new(int64(1))}); strings.Count(said, "\n") != 1 {
		w.Errorf("the last line is %q", said)
	}
}

func (w *world) whatCannotStartWaits() {
	w.create(job{name: "lacks", on: nodes.Process, pod: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "main", Image: "none", Command: shell("true"),
		EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "absent"}}}},
	}}}})
	w.create(job{name: "says-nothing", on: nodes.Process})
	w.create(job{name: "unknown", on: nodes.Process, pod: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "main", Image: "none", Command: []string{"no-such-command"},
	}}}})
	w.awaitPod("lacks", "waiting", waitsFor("CreateContainerConfigError"))
	w.awaitPod("says-nothing", "waiting", waitsFor("CreateContainerError"))
	if ended := w.awaitPod("unknown", "failed", inPhase(corev1.PodFailed)).Status.ContainerStatuses[0].State.Terminated; ended.Reason != "StartError" {
		w.Errorf("a command that is not there: %+v", ended)
	}
	// What it waited for has come.
	_, err := w.client.CoreV1().Secrets("default").Create(w.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "absent"}}, metav1.CreateOptions{})
	w.must(err)
	w.awaitPod("lacks", "succeeded", inPhase(corev1.PodSucceeded))
}

func (w *world) deletingEndsProcesses() {
	w.create(job{name: "long", on: nodes.Process, pod: corev1.PodSpec{
		TerminationGracePeriodSeconds: new(int64(60)),
		Containers: []corev1.Container{{
			Name: "main", Image: "none", Command: shell(`exec 2>/dev/null; trap 'echo goodbye; exit 0' TERM; echo begun; while :; do sleep 0.05; done`),
		}},
	}})
	pod := w.awaitPod("long", "running", inPhase(corev1.PodRunning))
	said := make(chan string, 1)
	stream, err := w.client.CoreV1().Pods("default").GetLogs(pod.Name, &corev1.PodLogOptions{Follow: true}).Stream(w.ctx)
	w.must(err)
	defer stream.Close()
	begun := make([]byte, len("begun\n"))
	_, err = io.ReadFull(stream, begun)
	w.must(err)
	go func() {
		text, _ := io.ReadAll(stream)
		said <- string(text)
	}()
	policy := metav1.DeletePropagationForeground
	w.must(w.client.BatchV1().Jobs("default").Delete(w.ctx, "long", metav1.DeleteOptions{PropagationPolicy: &policy}))
	w.await("the job is gone", func() bool {
		_, err := w.client.BatchV1().Jobs("default").Get(w.ctx, "long", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	select {
	case text := <-said:
		if text != "goodbye\n" {
			w.Errorf("it said %q when it was to end", text)
		}
	case <-time.After(patience):
		w.Error("its log goes on")
	}
}

func (w *world) containersRestart() {
	always := corev1.ContainerRestartPolicyAlways
	_, err := w.client.CoreV1().Pods("default").Create(w.ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "again", Labels: map[string]string{"job-name": "again"}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyOnFailure,
			NodeSelector:  map[string]string{nodes.KindLabel: string(nodes.Process)},
			InitContainers: []corev1.Container{{
				Name: "beside", Image: "none", RestartPolicy: &always, Command: shell("exec sleep 1000"),
			}},
			Containers: []corev1.Container{{
				Name: "main", Image: "none", Command: shell(`if [ -e mark ]; then echo second; else touch mark; echo first; exit 1; fi`),
			}},
		},
	}, metav1.CreateOptions{})
	w.must(err)
	pod := w.awaitPod("again", "succeeded", inPhase(corev1.PodSucceeded))
	if count := pod.Status.ContainerStatuses[0].RestartCount; count != 1 {
		w.Errorf("it was restarted %d times", count)
	}
	if said := w.logs("again", corev1.PodLogOptions{Container: "main", Previous: true}); said != "first\n" {
		w.Errorf("before, it said %q", said)
	}
	if said := w.logs("again", corev1.PodLogOptions{Container: "main"}); said != "second\n" {
		w.Errorf("at last, it said %q", said)
	}
}

func (w *world) noCapacity() {
	w.must(w.cluster.SetCapacity(w.ctx, false))
	w.create(job{name: "no-room", on: nodes.Simulated})
	w.awaitPod("no-room", "unschedulable", unschedulable)
	w.must(w.cluster.SetCapacity(w.ctx, true))
	w.awaitPod("no-room", "succeeded", inPhase(corev1.PodSucceeded))
}

func (w *world) nodeNotReady() {
	w.create(job{name: "stays", on: nodes.Simulated, retries: 5, annotations: map[string]string{"kubelab.gco.dev/runs": "1h"}})
	node := w.awaitPod("stays", "running", inPhase(corev1.PodRunning)).Spec.NodeName
	w.must(w.cluster.SetNode(w.ctx, node, "Unknown"))
	// Nothing runs its pods now, so one that is evicted stays, and another
	// takes its place.
	w.awaitPod("stays", "running elsewhere", func(pod *corev1.Pod) bool {
		return pod.Status.Phase == corev1.PodRunning && pod.Spec.NodeName != node
	})
	w.must(w.cluster.SetNode(w.ctx, node, "True"))
	w.await("the evicted pod is gone", func() bool {
		list, err := w.client.CoreV1().Pods("default").List(w.ctx, metav1.ListOptions{LabelSelector: "job-name=stays"})
		w.must(err)
		return len(list.Items) == 1
	})
}

func (w *world) apiStops() {
	if _, err := w.client.CoreV1().Nodes().List(w.ctx, metav1.ListOptions{}); err != nil {
		w.Fatal(err)
	}
	w.must(w.cluster.StopAPI(w.ctx))
	if _, err := w.client.CoreV1().Nodes().List(w.ctx, metav1.ListOptions{}); err == nil {
		w.Error("the API server answers after it was stopped")
	}
	const delay = 300 * time.Millisecond
	w.must(w.cluster.SlowAPI(w.ctx, delay))
	before := time.Now()
	_, err := w.client.CoreV1().Namespaces().Get(w.ctx, "default", metav1.GetOptions{})
	w.must(err)
	if took := time.Since(before); took < delay {
		w.Errorf("an answer took %s", took)
	}
	w.must(w.cluster.ResumeAPI(w.ctx))
}

func (w *world) senselessFaults() {
	for name, err := range map[string]error{
		"404": w.cluster.SetNode(w.ctx, "no-such-node", "False"),
		"400": w.cluster.SetNode(w.ctx, "process-0", "Perhaps"),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			w.Errorf("%s: %v", name, err)
		}
	}
}

// await asks again and again, where nothing tells.
func (w *world) await(what string, is func() bool) {
	w.Helper()
	err := wait.PollUntilContextTimeout(w.ctx, 50*time.Millisecond, patience, true, func(context.Context) (bool, error) { return is(), nil })
	if err != nil {
		w.Fatalf("waiting until %s: %v", what, err)
	}
}

// A cluster that was killed has its objects when it is started again, and the
// kubeconfig of before still opens it.
func TestACrashLosesNothing(t *testing.T) {
	dir := t.TempDir()
	first := kubelabtest.StartIn(t, dir, someNodes)
	w := &world{T: t, cluster: first, ctx: t.Context()}
	w.connect()
	uid := w.clusterUID()
	w.create(job{name: "command", on: nodes.Process, pod: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "main", Image: "none", Command: shell("exec sleep 1000"),
	}}}})
	w.awaitPod("command", "running", inPhase(corev1.PodRunning))
	w.create(job{name: "played", on: nodes.Simulated, annotations: map[string]string{"kubelab.gco.dev/runs": "5s"}})
	address := strings.TrimPrefix(first.Server, "https://")
	first.Kill()
	w.cluster = kubelabtest.StartIn(t, dir, someNodes, "--listen", address)
	if again := w.clusterUID(); again != uid {
		t.Errorf("the cluster is %s, and was %s", again, uid)
	}
	// The processes went with the kubelet; what is simulated goes on.
	failed := w.awaitPod("command", "failed", inPhase(corev1.PodFailed))
	if !slices.ContainsFunc(failed.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue
	}) {
		t.Errorf("the pod whose processes are gone: %+v", failed.Status)
	}
	w.awaitPod("played", "succeeded", inPhase(corev1.PodSucceeded))
}

func (w *world) clusterUID() string {
	w.Helper()
	namespace, err := w.client.CoreV1().Namespaces().Get(w.ctx, "kube-system", metav1.GetOptions{})
	w.must(err)
	return fmt.Sprint(namespace.UID)
}
