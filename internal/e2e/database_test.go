package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

// database is what a system keeps everything in.
type database string

const (
	onSQLite   database = "sqlite"
	onDynamoDB database = "dynamodb"
)

// onEachDatabase runs a test on every database there is.
func onEachDatabase(t *testing.T, test func(*testing.T, database)) {
	t.Helper()
	for _, db := range []database{onSQLite, onDynamoDB} {
		t.Run(string(db), func(t *testing.T) { test(t, db) })
	}
}

var projects atomic.Int64

func project() string { return fmt.Sprintf("e2e-%d-%d", os.Getpid(), projects.Add(1)) }

// up are the flags of gco up, for tables of its own.
func (db database) up(t *testing.T) []string {
	t.Helper()
	if db == onSQLite {
		return nil
	}
	config := filepath.Join(t.TempDir(), "gco.yaml")
	if err := os.WriteFile(config, []byte("project: "+project()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--config", config, "--store", "dynamodb", "--endpoint-url", dynamotest.Start(t, dynamotest.Dynoxide).URL}
}

// server are the flags of gco server, for tables of its own.
func (db database) server(t *testing.T) []string {
	t.Helper()
	if db == onSQLite {
		return nil
	}
	return []string{"--project", project(), "--endpoint-url", dynamotest.Start(t, dynamotest.Dynoxide).URL}
}

// TestOneKeyFromManyClients sends the same submission from 100 clients at once.
func TestOneKeyFromManyClients(t *testing.T) { onEachDatabase(t, oneKeyFromManyClients) }

func oneKeyFromManyClients(t *testing.T, db database) {
	s := up(t, t.TempDir(), db.up(t)...)
	const clients = 100
	made := make([]api.Job, clients)
	replays := make([]bool, clients)
	var all sync.WaitGroup
	for n := range clients {
		all.Go(func() {
			var err error
			if made[n], replays[n], err = s.client.Submit(t.Context(), script("once", "true"), "the-key"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first := 0
	for n := range made {
		if made[n].ID != made[0].ID {
			t.Fatalf("one client got job %s, another %s", made[0].ID, made[n].ID)
		}
		if !replays[n] {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d clients made the job", first)
	}
	if job := s.until(made[0].ID, "finished", finished); job.State != "succeeded" {
		t.Errorf("the job ended as %s: %s", job.State, job.Message)
	}
}

// TestCancelInEveryState cancels a job in each state that it can be seen in.
func TestCancelInEveryState(t *testing.T) { onEachDatabase(t, cancelInEveryState) }

func cancelInEveryState(t *testing.T, db database) {
	s := up(t, t.TempDir(), db.up(t)...)
	waiting := script("waits", "true")
	waiting.Placement = &api.Placement{Regions: []string{"nowhere"}}
	for _, life := range []struct {
		job   api.Submission
		state []string
	}{
		{waiting, []string{"queued"}},
		{script("soon", "sleep 1000"), []string{"queued", "placed", "claimed", "pending", "running"}},
		{script("runs", "trap '' TERM; sleep 1000"), []string{"running"}},
	} {
		job := s.submit(life.job)
		s.until(job.ID, "in "+fmt.Sprint(life.state), func(j api.Job) bool { return slices.Contains(life.state, j.State) })
		if _, err := s.client.CancelJob(t.Context(), job.ID); err != nil {
			t.Fatal(err)
		}
		s.until(job.ID, "cancelled", inState("cancelled"))
		if left := running(job.ID); len(left) > 0 {
			t.Errorf("processes %v run on after the cancel", left)
		}
	}
}

// TestTwoServersShareTheirTables has a region's agent at one server and clients
// at another, and kills the one that leads: the other takes over.
func TestTwoServersShareTheirTables(t *testing.T) {
	flags := onDynamoDB.server(t)
	first := controlPlane(t, flags...)
	dir := t.TempDir()
	second := launch(t, dir, append([]string{
		"server", "--dir", filepath.Join(dir, "data"), "--listen", "127.0.0.1:0", "--config", first.config,
	}, flags...)...)
	address := second.expect(`(http://127\.0\.0\.1:\d+)`)[1]
	token, err := os.ReadFile(filepath.Join(first.data(), "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	survivor, err := client.New(address, strings.TrimSpace(string(token)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(survivor.Close)
	first.agentThrough(strings.TrimPrefix(address, "http://"), "east", "east")
	before := first.submit(script("before", "true"))
	until(t, survivor, before.ID, "finished", finished)
	first.kill()
	after, _, err := survivor.Submit(t.Context(), script("after", "true"), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{before.ID, after.ID} {
		if job := until(t, survivor, id, "finished", finished); job.State != "succeeded" || job.Attempt != 1 {
			t.Errorf("job %s ended as %s on attempt %d", id, job.State, job.Attempt)
		}
	}
}
