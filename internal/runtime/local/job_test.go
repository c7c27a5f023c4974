package local

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

func shell(name, script string) corev1.Container {
	return corev1.Container{Name: name, Image: "busybox", Command: []string{"/bin/sh", "-c", script}}
}

// jobWith is a Job with backoffLimit 0 that change has had its way with.
func jobWith(change func(j *batchv1.JobSpec, p *corev1.PodSpec)) runtime.Attempt {
	var j batchv1.Job
	j.APIVersion, j.Kind, j.Name = "batch/v1", "Job", "test"
	j.Spec.BackoffLimit = new(int32(0))
	p := &j.Spec.Template.Spec
	p.RestartPolicy = corev1.RestartPolicyNever
	change(&j.Spec, p)
	text, err := json.Marshal(j)
	if err != nil {
		panic(err)
	}
	return runtime.Attempt{ID: newID(), Incarnation: "one", Namespace: "research", Name: "test", Manifest: text}
}

// run applies an attempt and returns how it ended and what it wrote.
func run(t *testing.T, r *Runtime, a runtime.Attempt) (runtime.Observation, string) {
	t.Helper()
	apply(t, r, a)
	o := awaitEnd(t, r, a.ID)
	return o, logsOf(t, r, a.ID, runtime.LogOptions{})
}

func TestEnvironment(t *testing.T) {
	t.Setenv("AGENTS_SECRET", "not for jobs")
	options := testOptions(t)
	r := openTest(t, options)
	a := jobWith(func(j *batchv1.JobSpec, p *corev1.PodSpec) {
		j.Template.Labels = map[string]string{"team": "vision"}
		j.Template.Annotations = map[string]string{"note": "$(NAME)"}
		c := shell("main", `env | sort; pwd; ls -d "$GCO_VOLUME_MY_DATA" "$TMPDIR" "$HOME" "$GCO_CHECKPOINT" >/dev/null && echo "args $0 $1"`)
		c.Args = []string{"$(GREETING)/$(UNKNOWN)/$$(GREETING)", "$(GCO_REGION)"}
		c.Env = []corev1.EnvVar{
			{Name: "NAME", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
			{Name: "GREETING", Value: "hello $(NAME)"},
			{Name: "NAMESPACE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.namespace"}}},
			{Name: "TEAM", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['team']"}}},
			{Name: "JOB", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['job-name']"}}},
			{Name: "NOTE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['note']"}}},
			{Name: "NODE", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "spec.nodeName"}}},
			{Name: "MILLICPU", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "requests.cpu", Divisor: resource.MustParse("1m")}}},
			{Name: "MEBIBYTES", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}}},
			{Name: "MISSING", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k", Optional: new(true)}}},
			{Name: "GCO_REGION", Value: "elsewhere"},
		}
		c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi"), gpu: resource.MustParse("2")}
		c.VolumeMounts = []corev1.VolumeMount{{Name: "my-data", MountPath: "/data"}}
		c.WorkingDir = "some/where"
		p.Volumes = []corev1.Volume{{Name: "my-data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		p.Containers = []corev1.Container{c}
	})
	o, text := run(t, r, a)
	if o.Phase != runtime.PhaseSucceeded {
		t.Fatalf("%+v\n%s", o, text)
	}
	pods, err := r.Pods(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	pod, home := pods[0].Name, r.region.Dir(idOf(a.ID)).Pod(pods[0].Name)
	want := []string{
		"CUDA_VISIBLE_DEVICES=0,1", "NVIDIA_VISIBLE_DEVICES=0,1",
		"GCO_ATTEMPT=1", "GCO_CHECKPOINT=" + filepath.Join(options.CheckpointDir, string(a.ID.Job)), "GCO_JOB_ID=" + string(a.ID.Job),
		"GCO_JOB_NAME=test", "GCO_NODE=us-east-1-node-0", "GCO_REGION=us-east-1",
		"GCO_RESULT=" + filepath.Join(string(r.region.Dir(idOf(a.ID))), "result"), "GCO_VOLUME_MY_DATA=" + filepath.Join(home, "volumes", "my-data"),
		"GREETING=hello " + pod, "HOME=" + home, "HOSTNAME=" + pod, "JOB=test", "LANG=C.UTF-8", "MEBIBYTES=1024", "MILLICPU=1500",
		"NAME=" + pod, "NAMESPACE=research", "NODE=us-east-1-node-0", "NOTE=$(NAME)", "PATH=" + os.Getenv("PATH"), "TEAM=vision",
		"TMPDIR=" + filepath.Join(home, "tmp"),
		filepath.Join(home, "some", "where"), "args hello " + pod + "/$(UNKNOWN)/$(GREETING) us-east-1",
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for _, line := range want {
		if !slices.Contains(lines, line) {
			t.Errorf("%q is missing", line)
		}
	}
	for _, line := range lines {
		name, _, assigned := strings.Cut(line, "=")
		ours := slices.Contains([]string{"PWD", "OLDPWD", "SHLVL", "_", "GCO_PROCESS"}, name)
		if assigned && !ours && !slices.Contains(want, line) {
			t.Errorf("%q is not wanted", line)
		}
	}
}

func TestContainersOfOnePod(t *testing.T) {
	r := openTest(t, testOptions(t))
	a := jobWith(func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
		p.Volumes = []corev1.Volume{{Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
		mount := []corev1.VolumeMount{{Name: "shared", MountPath: "/shared"}}
		side := shell("side", `echo up >"$GCO_VOLUME_SHARED/side"; exec sleep 1000`)
		side.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		p.InitContainers = []corev1.Container{side, shell("init", `until [ -s "$GCO_VOLUME_SHARED/side" ]; do sleep 0.01; done; echo prepared | tee "$GCO_VOLUME_SHARED/init"`)}
		p.Containers = []corev1.Container{shell("one", `cat "$GCO_VOLUME_SHARED/init"`), shell("two", "echo second; exit 3")}
		for _, list := range [][]corev1.Container{p.InitContainers, p.Containers} {
			for i := range list {
				list[i].VolumeMounts = mount
			}
		}
	})
	o, text := run(t, r, a)
	if o.Phase != runtime.PhaseFailed || *o.ExitCode != 3 || !strings.Contains(o.Message, "container two") {
		t.Errorf("%+v", o)
	}
	pods, _ := r.Pods(t.Context(), a.ID)
	pod := pods[0]
	lines := strings.Split(strings.TrimSpace(text), "\n")
	slices.Sort(lines)
	want := []string{"[" + pod.Name + "/init] prepared", "[" + pod.Name + "/one] prepared", "[" + pod.Name + "/two] second"}
	if !slices.Equal(lines, want) {
		t.Errorf("logs %q, want %q", lines, want)
	}
	if got := logsOf(t, r, a.ID, runtime.LogOptions{Container: "two"}); got != "second\n" {
		t.Errorf("logs of one container: %q", got)
	}
	var states []string
	for _, c := range pod.Containers {
		states = append(states, fmt.Sprintf("%s %v %s %d", c.Name, c.Init, c.State, *c.ExitCode))
	}
	if want := []string{"side true terminated 143", "init true terminated 0", "one false terminated 0", "two false terminated 3"}; !slices.Equal(states, want) {
		t.Errorf("containers %q, want %q", states, want)
	}
}

func TestPodsOfOneJob(t *testing.T) {
	options := testOptions(t)
	r := openTest(t, options)
	a := jobWith(func(j *batchv1.JobSpec, p *corev1.PodSpec) {
		j.CompletionMode = new(batchv1.IndexedCompletion)
		j.Completions, j.Parallelism, j.BackoffLimit = new(int32(5)), new(int32(2)), new(int32(3))
		// The pod of index 3 fails the first time.
		p.Containers = []corev1.Container{shell("main", `echo "$JOB_COMPLETION_INDEX" >>"$GCO_CHECKPOINT/done"
			[ "$JOB_COMPLETION_INDEX" != 3 ] || mkdir "$GCO_CHECKPOINT/tried" 2>/dev/null && [ "$JOB_COMPLETION_INDEX" = 3 ] && exit 1; exit 0`)}
	})
	o, _ := run(t, r, a)
	if o.Phase != runtime.PhaseSucceeded {
		t.Fatalf("%+v", o)
	}
	text, err := os.ReadFile(filepath.Join(options.CheckpointDir, string(a.ID.Job), "done"))
	if err != nil {
		t.Fatal(err)
	}
	ran := strings.Fields(string(text))
	slices.Sort(ran)
	if want := []string{"0", "1", "2", "3", "3", "4"}; !slices.Equal(ran, want) {
		t.Errorf("ran indexes %v, want %v", ran, want)
	}
	events, err := r.ClusterEvents(t.Context(), a.ID)
	reasons := map[string]bool{}
	for _, event := range events {
		reasons[event.Reason] = true
	}
	for _, reason := range []string{"Scheduled", "SuccessfulCreate", "Started", "Completed", "Error"} {
		if !reasons[reason] {
			t.Errorf("no event %s among %+v (%v)", reason, events, err)
		}
	}
}

// The checkpoint directory outlives attempts and regions.
func TestCheckpoint(t *testing.T) {
	options := testOptions(t)
	r := openTest(t, options)
	a := attemptOf(newID(), `[ -e "$GCO_CHECKPOINT/state" ] || { echo 41 >"$GCO_CHECKPOINT/state"; exit 1; }; cat "$GCO_CHECKPOINT/state"`)
	if o, _ := run(t, r, a); o.Phase != runtime.PhaseFailed {
		t.Fatalf("%+v", o)
	}
	if err := r.Forget(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	elsewhere := options
	elsewhere.Dir, elsewhere.Region = t.TempDir(), "eu-west-1"
	other := openTest(t, elsewhere)
	a.ID.Attempt = 2
	if o, text := run(t, other, a); o.Phase != runtime.PhaseSucceeded || text != "41\n" {
		t.Errorf("%+v, %q", o, text)
	}
	if err := other.RemoveCheckpoint(a.ID.Job); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(options.CheckpointDir, string(a.ID.Job))); !os.IsNotExist(err) {
		t.Errorf("after its removal: %v", err)
	}
	if err := other.RemoveCheckpoint("../region"); err == nil {
		t.Error("removed what is no checkpoint")
	}
}

func TestMissingCommand(t *testing.T) {
	r := openTest(t, testOptions(t))
	a := jobWith(func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
		p.Containers = []corev1.Container{{Name: "main", Command: []string{"no-such-command-anywhere"}}}
	})
	o, _ := run(t, r, a)
	if o.Phase != runtime.PhaseFailed || o.ExitCode == nil || *o.ExitCode != 128 {
		t.Errorf("%+v", o)
	}
	events, _ := r.ClusterEvents(t.Context(), a.ID)
	if !slices.ContainsFunc(events, func(e runtime.ClusterEvent) bool {
		return e.Warning && e.Reason == "Failed" && strings.Contains(e.Message, "no image is pulled")
	}) {
		t.Errorf("no event says why: %+v", events)
	}
}

func TestManyAtOnce(t *testing.T) {
	const attempts = 50
	options := testOptions(t)
	r := openTest(t, options)
	before, _ := r.Capacity(t.Context())
	ids := make([]job.AttemptID, attempts)
	var all sync.WaitGroup
	for i := range ids {
		ids[i] = newID()
		all.Go(func() {
			if err := r.Apply(t.Context(), attemptOf(ids[i], fmt.Sprintf("echo started >>\"$GCO_CHECKPOINT/starts\"; exit %d", i%3))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i, id := range ids {
		if o := awaitEnd(t, r, id); o.ExitCode == nil || *o.ExitCode != i%3 {
			t.Errorf("%+v, want exit code %d", o, i%3)
		}
		if n := starts(t, options, id); n != 1 {
			t.Errorf("started %d times", n)
		}
	}
	if after, _ := r.Capacity(t.Context()); !after.Free().Equal(before.Free()) {
		t.Errorf("free %v, before %v", after.Free(), before.Free())
	}
}

// Stopped at whatever moment, an attempt ends, as stopped or as it would have,
// and leaves nothing.
func TestStopAtAnyMoment(t *testing.T) {
	options := testOptions(t)
	options.MaxGrace = 20 * time.Millisecond
	r := openTest(t, options)
	for i := range 12 {
		a := jobWith(func(j *batchv1.JobSpec, p *corev1.PodSpec) {
			j.BackoffLimit = new(int32(100))
			side := shell("side", `trap "" TERM; while :; do sleep 0.01; done`)
			side.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
			p.InitContainers = []corev1.Container{side, shell("init", "sleep 0.02")}
			p.Containers = []corev1.Container{shell("main", "sleep 0.02; exit 1")}
		})
		apply(t, r, a)
		// The moment is after so many changes of its status.
		changes := 0
		await(t, r, a.ID, "a moment", func(runtime.Observation) bool { changes++; return changes > i })
		if err := r.Stop(t.Context(), a.ID); err != nil {
			t.Fatal(err)
		}
		if o := awaitEnd(t, r, a.ID); o.Phase != runtime.PhaseStopped {
			t.Errorf("stopped after %d changes, it is %+v", i, o)
		}
		if left := processes(t, a.ID); len(left) > 0 {
			t.Errorf("stopped after %d changes, it leaves %+v", i, left)
		}
	}
}

func TestForgetsWhatJobsProtected(t *testing.T) {
	r := openTest(t, testOptions(t))
	a := attemptOf(newID(), `mkdir -p deep/er && touch deep/er/file && chmod 0500 deep/er && chmod 0 deep`)
	if o, text := run(t, r, a); o.Phase != runtime.PhaseSucceeded {
		t.Fatalf("%+v %s", o, text)
	}
	if err := r.Forget(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(r.region.Attempts())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}
