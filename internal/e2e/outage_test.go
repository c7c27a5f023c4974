package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
)

// outageLeases give a cluster up after seconds.
const outageLeases = `
timing: {trust: 4s, lease: 6s, takeover: 9s, longPoll: 1s}
regions:
  east: {kubernetes: {leaseDuration: 3s}}
  west: {kubernetes: {leaseDuration: 3s}}
`

// onGPUs is a script that takes all GPUs of a cluster's node.
func onGPUs(name, text string) api.Submission {
	return api.Submission{Manifest: fmt.Appendf(nil, `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":%q},
		"spec":{"backoffLimit":0,"template":{"spec":{"restartPolicy":"Never","terminationGracePeriodSeconds":1,"containers":[{"name":"main",
		"image":"busybox:1.36","command":["/bin/sh","-c",%q],"resources":{"limits":{"nvidia.com/gpu":"4","cpu":"1","memory":"64Mi"}}}]}}}}`, name, text)}
}

// drive starts one agent of a cluster.
func (c *cluster) drive(plane *roles, region string) *process {
	c.t.Helper()
	created, err := plane.client.CreateToken(c.t.Context(), api.NewToken{Name: region, Role: "agent", Region: region})
	if err != nil {
		c.t.Fatal(err)
	}
	token := filepath.Join(plane.dir, region+".token")
	if err := os.WriteFile(token, []byte(created.Secret), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return launch(c.t, plane.dir, "agent", "--runtime", "kube", "--kubeconfig", c.accountConfig(), "--region", region,
		"--addr", plane.addr, "--token-file", token, "--config", plane.config)
}

// A region that is full sends the next job elsewhere. When its cluster's API
// goes, the region says so and its job runs again elsewhere; when it is back,
// the first attempt ends, and never reports.
func TestClusterThatCannotBeReachedLosesItsJobs(t *testing.T) {
	plane := controlPlaneWith(t, outageLeases)
	clusters := map[string]*cluster{"east": startCluster(t), "west": startCluster(t)}
	for region, c := range clusters {
		c.drive(plane, region)
	}
	for region := range clusters {
		awaitRegion(t, plane.client, region, func(r api.Region) bool { return r.Healthy && r.Free["nvidia.com/gpu"] == 4 })
	}

	// The first attempt would never end.
	first := plane.submit(onGPUs("first", `if [ "$GCO_ATTEMPT" = 1 ]; then exec sleep 600; fi; echo "$GCO_ATTEMPT"`))
	running := until(t, plane.client, first.ID, "running", inState("running"))
	away, there := clusters[running.Region], "west"
	if running.Region == "west" {
		there = "east"
	}
	began := time.Now()
	second := plane.submit(onGPUs("second", "echo elsewhere"))
	ended := until(t, plane.client, second.ID, "finished", finished)
	if ended.State != "succeeded" || ended.Region != there {
		t.Errorf("beside a full %s the next job %s in %s", running.Region, ended.State, ended.Region)
	}
	if took := ended.StartedAt.Sub(began); took > 10*time.Second {
		t.Errorf("it took %s until it ran elsewhere", took)
	}

	if err := away.StopAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	awaitRegion(t, plane.client, running.Region, func(r api.Region) bool { return r.UnreachableSince != nil && !r.Healthy })
	ended = until(t, plane.client, first.ID, "finished", finished)
	if ended.State != "succeeded" || ended.Region != there || ended.Attempt != 2 || ended.Losses != 1 {
		t.Errorf("the job ended as %s in %s, attempt %d, losses %d", ended.State, ended.Region, ended.Attempt, ended.Losses)
	}
	if err := away.ResumeAPI(t.Context()); err != nil {
		t.Fatal(err)
	}
	began = time.Now()
	stale := away.pods()
	if len(stale) != 1 {
		t.Fatalf("the cluster that was away has %d pods, want the first attempt's", len(stale))
	}
	away.await("the first attempt is gone", func() bool { return len(away.pods()) == 0 })
	t.Logf("the first attempt ran on for %s beside the second; it ended %s after its cluster was back",
		time.Since(*ended.StartedAt).Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	awaitRegion(t, plane.client, running.Region, func(r api.Region) bool { return r.Healthy && r.Free["nvidia.com/gpu"] == 4 })
	after, err := plane.client.Job(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if after.State != "succeeded" || after.Attempt != 2 || after.Version != ended.Version {
		t.Errorf("after the cluster came back the job is %s, attempt %d", after.State, after.Attempt)
	}
	// What is applied next finds the room that the first attempt left.
	if ended := until(t, plane.client, plane.submit(onGPUs("third", "echo back")).ID, "finished", finished); ended.State != "succeeded" {
		t.Errorf("the next job %s: %s", ended.State, ended.Message)
	}
}
