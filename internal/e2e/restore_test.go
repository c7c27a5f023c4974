package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// sleeping runs until it is stopped.
func sleeping(name, region string) api.Submission {
	s := script(name, "while true; do sleep 0.1; done")
	s.Placement = &api.Placement{Regions: []string{region}}
	return s
}

// command runs gco to its end.
func command(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), gco, args...)
	cmd.Env = append(os.Environ(), "GCO_CONFIG="+filepath.Join(dir, "config.yaml"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("gco %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestRestoreAdoptsNothing loses the server's disk while jobs run, and restores
// an earlier second of it: what the regions ran is ended by them, whether the
// restored data know of it or not, and nothing starts before every region has
// been heard or given up.
func TestRestoreAdoptsNothing(t *testing.T) {
	dir := t.TempDir()
	vault := "file://" + filepath.Join(dir, "vault")
	c := &roles{dir: dir, config: filepath.Join(dir, "gco.yaml")}
	if err := os.WriteFile(c.config, []byte(shortLeases+"backups: {vault: \""+vault+"\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.process = launch(t, dir, "server", "--dir", c.data(), "--listen", "127.0.0.1:0", "--config", c.config)
	c.connect(c.data())
	t.Cleanup((&system{dir: dir}).killSupervisors)
	c.agent("east", "east")
	west := c.agent("west", "west")
	known := c.submit(sleeping("known", "east"))
	until(t, c.client, known.ID, "running", inState("running"))
	elsewhere := c.submit(sleeping("elsewhere", "west"))
	until(t, c.client, elsewhere.ID, "running", inState("running"))

	// The moment to go back to, and a job that it will not know.
	moment := time.Now().Add(time.Second)
	<-time.After(1100 * time.Millisecond)
	forgotten := c.submit(sleeping("forgotten", "east"))
	until(t, c.client, forgotten.ID, "running", inState("running"))
	stop := watchdog(t, known.ID)
	west.kill()
	c.kill()
	if err := os.Rename(c.data(), filepath.Join(dir, "lost")); err != nil {
		t.Fatal(err)
	}
	restored := filepath.Join(dir, "restored")
	said := command(t, dir, "backup", "restore", "--vault", vault, "--to", restored, "--at", moment.Format(time.RFC3339Nano), "--renew-admin-token", "--check", "all")
	if !strings.Contains(said, "east, west") {
		t.Errorf("restore says %s", said)
	}

	c.process = launch(t, dir, "server", "--dir", restored, "--listen", strings.TrimPrefix(c.addr, "http://"), "--config", c.config)
	c.connect(restored)
	eastIs := func(wanted func(api.Region) bool) {
		t.Helper()
		awaitRegion(t, c.client, "east", wanted)
	}
	eastIs(func(r api.Region) bool { return r.Lease == "live" && r.Inventoried && r.AwaitedSince == nil })
	if _, err := c.client.Job(t.Context(), forgotten.ID); client.Status(err) != 404 {
		t.Errorf("a job from after the moment: %v", err)
	}
	// East ends what it ran before: what is known as well as what is not.
	for _, id := range []string{known.ID, forgotten.ID} {
		awaitNone(t, id)
	}
	// Its job waits, and so does a new one: west may run anything.
	waiting := c.submit(sleeping("waiting", "east"))
	for _, id := range []string{known.ID, waiting.ID} {
		until(t, c.client, id, "queued", inState("queued"))
		why, err := c.client.ExplainJob(t.Context(), id)
		if err != nil || !strings.Contains(why.Summary, "west") {
			t.Errorf("job %s waits because %q (%v)", id, why.Summary, err)
		}
	}
	if job := until(t, c.client, elsewhere.ID, "held", inState("running")); job.Region != "west" {
		t.Errorf("the job in the region that is away: %+v", job)
	}
	if _, err := c.client.WriteOff(t.Context(), "west"); err != nil {
		t.Fatal(err)
	}
	again := until(t, c.client, known.ID, "running again", inState("running"))
	if again.Attempt != 2 || again.Losses != 1 {
		t.Errorf("the job runs as attempt %d after %d losses", again.Attempt, again.Losses)
	}
	until(t, c.client, waiting.ID, "running", inState("running"))
	until(t, c.client, elsewhere.ID, "given back", func(j api.Job) bool { return j.State == "queued" && j.Losses == 1 })
	stop()
}

// awaitRegion asks for a region until it is as wanted.
func awaitRegion(t *testing.T, c *client.Client, name string, wanted func(api.Region) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		region, err := c.Region(ctx, name)
		if err == nil && wanted(region) {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("region %s is %+v (%v)", name, region, err)
		}
		pause(20 * time.Millisecond)
	}
}

// awaitNone looks until a job has no process.
func awaitNone(t *testing.T, id string) {
	t.Helper()
	end := time.Now().Add(patience)
	for len(running(id)) > 0 {
		if time.Now().After(end) {
			t.Fatalf("job %s still runs: %v", id, running(id))
		}
		pause(20 * time.Millisecond)
	}
}
