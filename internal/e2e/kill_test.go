package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// kills is how often the whole system dies.
const kills = 50

// TestKillEverythingUnderLoad kills gco at random moments while clients
// submit. Every job that was answered with 201 must be there afterwards, and
// must have ended exactly once.
func TestKillEverythingUnderLoad(t *testing.T) { onEachDatabase(t, killEverythingUnderLoad) }

func killEverythingUnderLoad(t *testing.T, db database) {
	dir := t.TempDir()
	flags := db.up(t)
	var mu sync.Mutex
	accepted := map[string]string{}
	var last *system
	for round := range kills {
		s := up(t, dir, flags...)
		ctx, cancel := context.WithCancel(t.Context())
		var submitters sync.WaitGroup
		for n := range 4 {
			submitters.Go(func() {
				for i := 0; ctx.Err() == nil && i < 8; i++ {
					key := fmt.Sprintf("round-%d-%d-%d", round, n, i)
					job, _, err := s.client.Submit(ctx, script("work", "true"), key)
					if err == nil {
						mu.Lock()
						accepted[key] = job.ID
						mu.Unlock()
					}
				}
			})
		}
		pause(time.Duration(rand.IntN(600)) * time.Millisecond)
		s.kill()
		if round%5 == 0 {
			// As if the host had lost power.
			s.killSupervisors()
		}
		cancel()
		submitters.Wait()
	}
	last = up(t, dir, flags...)
	if len(accepted) < kills {
		t.Fatalf("only %d jobs were accepted in %d rounds", len(accepted), kills)
	}
	for key, id := range accepted {
		job := last.until(id, "finished", finished)
		ends := 0
		for _, h := range job.History {
			if h.To == "succeeded" || h.To == "failed" || h.To == "cancelled" {
				ends++
			}
		}
		if job.State != "succeeded" || ends != 1 {
			t.Errorf("job %s ended %d times, as %s: %s", id, ends, job.State, job.Message)
		}
		again, replayed, err := last.client.Submit(t.Context(), script("work", "true"), key)
		if err != nil || !replayed || again.ID != id {
			t.Errorf("key %s: job %s, replayed %t, %v; want %s again", key, again.ID, replayed, err, id)
		}
	}
	t.Logf("%d jobs accepted over %d kills, all there and finished once", len(accepted), kills)
}

// agentPID is the process of a region's agent under gco up --region-process.
func agentPID(t *testing.T, s *system, region string) int {
	t.Helper()
	for _, pid := range pids() {
		line := commandLine(pid)
		if strings.Contains(line, "--region "+region+" ") && strings.Contains(line, s.dir) {
			return pid
		}
	}
	t.Fatalf("no agent of %s is running", region)
	return 0
}

// TestKilledAgentIsFencedAndReplaced kills an agent that never returns: its
// supervisors end the job's processes, and the job runs on elsewhere.
func TestKilledAgentIsFencedAndReplaced(t *testing.T) {
	onEachDatabase(t, killedAgentIsFencedAndReplaced)
}

func killedAgentIsFencedAndReplaced(t *testing.T, db database) {
	s := up(t, t.TempDir(), append(db.up(t), "--region-process")...)
	job := s.submit(script("long", "trap '' TERM; sleep 3 & setsid sleep 1000 & wait; sleep 1000"))
	first := s.until(job.ID, "running", inState("running"))
	stop := watchdog(t, job.ID)
	if err := syscall.Kill(agentPID(t, s, first.Region), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	second := s.until(job.ID, "running elsewhere", func(j api.Job) bool {
		return j.State == "running" && j.Region != first.Region
	})
	stop()
	if second.Attempt != first.Attempt+1 || second.Losses != 1 || second.Failures != 0 {
		t.Errorf("attempt %d after %d losses and %d failures", second.Attempt, second.Losses, second.Failures)
	}
	if old := running(job.ID)[strconv.Itoa(first.Attempt)]; len(old) > 0 {
		t.Errorf("processes %v of the first attempt still run", old)
	}
	if _, err := s.client.CancelJob(t.Context(), job.ID); err != nil {
		t.Fatal(err)
	}
	s.until(job.ID, "cancelled", inState("cancelled"))
	if left := running(job.ID); len(left) > 0 {
		t.Errorf("processes %v run on after the cancel", left)
	}
}

// TestRestartedAgentAdoptsWhatRuns kills an agent and starts another within
// the trust: the same process goes on, and the job notices nothing.
func TestRestartedAgentAdoptsWhatRuns(t *testing.T) { onEachDatabase(t, restartedAgentAdoptsWhatRuns) }

func restartedAgentAdoptsWhatRuns(t *testing.T, db database) {
	c := controlPlane(t, db.server(t)...)
	agent := c.agent("east", "east")
	job := c.submit(script("long", "sleep 5; echo done"))
	first := until(t, c.client, job.ID, "running", inState("running"))
	stop := watchdog(t, job.ID)
	before := running(job.ID)
	agent.kill()
	c.agent("east", "east")
	ended := until(t, c.client, job.ID, "finished", func(j api.Job) bool {
		if now := running(job.ID); j.State == "running" && len(now["1"]) > 0 && now["1"][0] != before["1"][0] {
			t.Errorf("process %v became %v", before, now)
		}
		return finished(j)
	})
	stop()
	if ended.State != "succeeded" || ended.Attempt != first.Attempt || ended.Losses != 0 {
		t.Errorf("ended as %s on attempt %d after %d losses", ended.State, ended.Attempt, ended.Losses)
	}
	logs, err := c.client.Logs(t.Context(), job.ID, client.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if text := readAll(t, logs); !strings.Contains(text, "done") {
		t.Errorf("logs %q", text)
	}
}

// TestCutOffAgentFencesBeforeItsWorkIsGivenAway refuses an agent's
// connections. Its job's processes must be gone when the job is queued again.
func TestCutOffAgentFencesBeforeItsWorkIsGivenAway(t *testing.T) {
	onEachDatabase(t, cutOffAgentFencesBeforeItsWorkIsGivenAway)
}

func cutOffAgentFencesBeforeItsWorkIsGivenAway(t *testing.T, db database) {
	c := controlPlane(t, db.server(t)...)
	wire := newProxy(t, strings.TrimPrefix(c.addr, "http://"))
	c.agentThrough(wire.addr(), "east", "east")
	job := c.submit(script("long", "trap '' TERM; sleep 1000"))
	until(t, c.client, job.ID, "running", inState("running"))
	if len(running(job.ID)) == 0 {
		t.Fatal("the job has no process")
	}
	wire.cut()
	for state := "running"; state == "running"; {
		alive := len(running(job.ID))
		seen, err := c.client.Job(t.Context(), job.ID)
		if err != nil {
			t.Fatal(err)
		}
		state = seen.State
		// The processes were counted before the state was read, so what is
		// counted now must have been gone before the job was given away.
		if state != "running" && alive > 0 && len(running(job.ID)) > 0 {
			t.Fatalf("the job is %s while %d processes of it run", state, alive)
		}
		pause(10 * time.Millisecond)
	}
}
