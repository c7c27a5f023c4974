package backup

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/blob/blobtest"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/pipeline"
	"github.com/gco-project/gco/internal/schedule"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
	"github.com/gco-project/gco/internal/template"
)

// plant is a database that is written to and copied.
type plant struct {
	t           testing.TB
	store       *sqlite.Store
	path        string
	vault       *Vault
	replication *Replication

	mu      sync.Mutex
	written map[job.ID]*written
}

// written is what is known of one job: its record after each version, with
// when that was asked for and when it was acknowledged.
type written struct {
	submission store.Submission
	versions   []version
}

type version struct {
	job          job.Job
	transition   job.Transition
	asked, acked time.Time
}

func newVault(t testing.TB) *Vault {
	t.Helper()
	v, err := OpenVault(t.Context(), filepath.Join(t.TempDir(), "vault"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func newPlant(t testing.TB, vault *Vault) *plant {
	t.Helper()
	p := &plant{t: t, path: filepath.Join(t.TempDir(), "data", DatabaseFile), vault: vault, written: map[job.ID]*written{}}
	p.open()
	return p
}

func (p *plant) open() {
	p.t.Helper()
	var err error
	if p.store, err = sqlite.Open(p.t.Context(), sqlite.Options{Path: p.path, Checkpointed: true}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *plant) replicate() {
	p.t.Helper()
	incarnation, err := p.store.Incarnation(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	p.replication, err = StartReplication(p.t.Context(), ReplicationOptions{
		Database: p.path, Incarnation: incarnation, Vault: p.vault, EverySecond: time.Hour, Keep: time.Hour,
		Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	}, time.Minute)
	if err != nil {
		p.t.Fatal(err)
	}
	if status := p.replication.Status(); status.Err != nil || status.SafeAt.IsZero() {
		p.t.Fatalf("after the first copy the status is %+v", status)
	}
}

// stop ends everything in order.
func (p *plant) stop() {
	p.t.Helper()
	if p.replication != nil {
		if err := p.replication.Close(); err != nil {
			p.t.Error(err)
		}
	}
	if err := p.store.Close(); err != nil {
		p.t.Error(err)
	}
}

// behind is how far the copy was behind, at its worst. A machine that is busy
// with other things can't keep the promise of a second, and the tests then
// hold a restore to what the copy could know.
type behind struct{ most time.Duration }

// look tells whether it is worse than ever.
func (b *behind) look(r *Replication) bool {
	now := time.Since(r.Status().SafeAt)
	worse := now > b.most
	b.most = max(b.most, now)
	return worse
}

// watch looks until it is stopped.
func (b *behind) watch(r *Replication) (stop func()) {
	ended, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			b.look(r)
			select {
			case <-time.After(5 * time.Millisecond):
			case <-end:
				return
			}
		}
	}()
	return func() {
		close(end)
		<-ended
	}
}

func newSubmission(n int) store.Submission {
	demand := capacity.Demand{Pods: []capacity.PodGroup{{
		Count: 1, Pod: capacity.Pod{Requests: capacity.Resources{capacity.CPU: int64(1000 + n%7)}},
	}}}
	spec := job.Spec{Namespace: fmt.Sprintf("team-%d", n%3), Name: "train", Class: capacity.ClassOf(demand, job.Constraints{})}.WithDefaults()
	j, transition := job.New(job.NewID(), spec, time.Now())
	s := store.Submission{Job: j, Transition: transition, Demand: demand, Manifest: fmt.Appendf(nil, `{"kind":"Job","n":%d}`, n)}
	if n%2 == 0 {
		s.Key = &store.IdempotencyKey{Identity: "ann", Namespace: spec.Namespace, Key: string(j.ID), BodyHash: "hash"}
	}
	return s
}

// write takes one job through a part of its life, and notes what was
// acknowledged.
func (p *plant) write(ctx context.Context, n int) error {
	w := &written{submission: newSubmission(n)}
	asked := time.Now()
	answers, err := p.store.Insert(ctx, []store.Submission{w.submission})
	if err := errors.Join(err, answers[0].Err); err != nil {
		return err
	}
	p.note(w, version{answers[0].Job, w.submission.Transition, asked, time.Now()})
	life := []job.Event{{Kind: job.Place, Region: "r"}, {Kind: job.Claim}, {Kind: job.Started}, {Kind: job.Finished}}
	for _, event := range life[:n%(len(life)+1)] {
		asked := time.Now()
		after, transition, err := w.versions[len(w.versions)-1].job.Apply(event, asked)
		if err != nil {
			return err
		}
		errs, err := p.store.Commit(ctx, nil, []store.Change{{Job: after, Transition: transition}})
		if err := errors.Join(append(errs, err)...); err != nil {
			return err
		}
		p.note(w, version{after, transition, asked, time.Now()})
	}
	return nil
}

func (p *plant) note(w *written, v version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.versions = append(w.versions, v)
	p.written[v.job.ID] = w
}

// writeFor writes with several writers for a while.
func (p *plant) writeFor(d time.Duration) {
	p.t.Helper()
	ctx := p.t.Context()
	end := time.Now().Add(d)
	var all sync.WaitGroup
	for writer := range 4 {
		all.Go(func() {
			for n := writer; time.Now().Before(end); n += 4 {
				if err := p.write(ctx, n); err != nil {
					p.t.Errorf("writing: %v", err)
					return
				}
				<-time.After(time.Duration(rand.IntN(int(4 * time.Millisecond))))
			}
		})
	}
	all.Wait()
}

func (p *plant) restore(o RestoreOptions) Restored {
	p.t.Helper()
	o.Vault, o.Depth, o.Clock = p.vault, sqlite.Recount, clock.RealClock{}
	if o.Dir == "" {
		o.Dir = filepath.Join(p.t.TempDir(), "restored")
	}
	restored, err := Restore(p.t.Context(), o)
	if err != nil {
		p.t.Fatal(err)
	}
	return restored
}

// compare holds every record of a restored directory against what was
// acknowledged: all from before the first moment is there, nothing that was
// asked for after the second is, and what is there is as it was written.
func (p *plant) compare(dir string, allBefore, noneAfter time.Time) {
	p.t.Helper()
	s, err := sqlite.Open(p.t.Context(), sqlite.Options{Path: filepath.Join(dir, DatabaseFile)})
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p.mu.Lock()
	defer p.mu.Unlock()
	there := 0
	for id, w := range p.written {
		least, most := 0, 0
		for i, v := range w.versions {
			if v.acked.Before(allBefore) {
				least = i + 1
			}
			if !v.asked.After(noneAfter) {
				most = i + 1
			}
		}
		got, err := s.Job(p.t.Context(), id)
		if errors.Is(err, store.ErrNotFound) {
			if least > 0 {
				p.t.Errorf("job %s was acknowledged at %s and is missing", id, w.versions[0].acked)
			}
			continue
		}
		if err != nil {
			p.t.Fatal(err)
		}
		there++
		if n := int(got.Version); n < least || n > most || n > len(w.versions) {
			p.t.Errorf("job %s has version %d, and should have one from %d to %d", id, n, least, most)
			continue
		}
		p.compareJob(s, w, got)
	}
	if census, err := sqlite.Examine(p.t.Context(), filepath.Join(dir, DatabaseFile), sqlite.Count); err != nil || int(census.Jobs) != there {
		p.t.Errorf("%d jobs are there, %d of which were ever acknowledged (%v)", census.Jobs, there, err)
	}
}

// compareJob holds a record and all that hangs on it against what was written.
func (p *plant) compareJob(s *sqlite.Store, w *written, got job.Job) {
	p.t.Helper()
	ctx, id := p.t.Context(), got.ID
	if a, b := jsonOf(got), jsonOf(w.versions[got.Version-1].job); a != b {
		p.t.Errorf("job %s is %s and was written as %s", id, a, b)
	}
	history, err := s.History(ctx, id)
	if err != nil || len(history) != int(got.Version) {
		p.t.Fatalf("job %s has %d transitions at version %d (%v)", id, len(history), got.Version, err)
	}
	for i, transition := range history {
		if a, b := jsonOf(transition), jsonOf(w.versions[i].transition); a != b {
			p.t.Errorf("transition %d of job %s is %s and was written as %s", i+1, id, a, b)
		}
	}
	manifest, err := s.Manifest(ctx, id)
	if err != nil || !bytes.Equal(manifest, w.submission.Manifest) {
		p.t.Errorf("job %s has the manifest %s (%v)", id, manifest, err)
	}
	demand, err := s.Demand(ctx, got.Spec.Class)
	if err != nil || jsonOf(demand) != jsonOf(w.submission.Demand) {
		p.t.Errorf("job %s has the demand %+v (%v)", id, demand, err)
	}
	if w.submission.Key == nil {
		return
	}
	// The key still makes no second job.
	again := newSubmission(0)
	again.Key = w.submission.Key
	answers, err := s.Insert(ctx, []store.Submission{again})
	if err != nil || answers[0].Err != nil || answers[0].Created || answers[0].Job.ID != id {
		p.t.Errorf("the key of job %s gives %+v (%v)", id, answers, err)
	}
}

func jsonOf(value any) string {
	out, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return string(out)
}

// others writes something of each kind that is not a job.
func (p *plant) others() {
	p.t.Helper()
	ctx, now := p.t.Context(), time.Now().UTC()
	_, session := p.store.OpenSession(ctx, "r", "cluster", "session", now)
	webhook, err := p.store.CreateWebhook(ctx, store.Webhook{
		ID: "w", URL: "https://example.com/", Secrets: []store.WebhookSecret{{Key: []byte("secret")}}, CreatedAt: now, UpdatedAt: now,
	}, 1)
	_, _, started := p.store.InsertPipeline(ctx, store.NewPipeline{
		Pipeline: pipeline.Pipeline{
			ID: pipeline.NewID(), Namespace: "team-a", Name: "nightly", Version: 1, State: pipeline.Running, Run: 1, SubmittedAt: now, UpdatedAt: now, DueAt: now,
			Steps: []pipeline.Step{{Name: "first", State: pipeline.StepRunning, Run: 1, Job: job.NewID()}},
		},
		Document: []byte(`{"steps":[]}`),
	})
	err = errors.Join(session, err, started,
		p.store.CreateToken(ctx, store.Token{ID: "t", Name: "ci", Hash: "abc", Role: "admin"}),
		p.store.PutTemplate(ctx, template.Template{Name: "train", Version: 1, Job: []byte(`{}`), CreatedAt: now, UpdatedAt: now}),
		p.store.PutSchedule(ctx, schedule.Schedule{
			UID: "s", Namespace: "team-a", Name: "nightly", Version: 1, Next: now, DueAt: now, CreatedAt: now, UpdatedAt: now,
			Spec: schedule.Spec{Cron: "0 3 * * *", TimeZone: "UTC"},
		}, []byte(`{"cron":"0 3 * * *"}`)),
		p.store.Dispatch(ctx, 0, 1, []store.Delivery{{
			Webhook: webhook.ID, Cursor: 1, EventID: "region/r/1", Type: "region.connected", Subject: "region/r",
			At: now, State: store.DeliveryOpen, DueAt: now, OpenedAt: now, Body: []byte(`{}`),
		}}),
	)
	if err != nil {
		p.t.Fatal(err)
	}
}

// TestDrill restores a database that is being written to, to moments of its
// past, and compares every record.
//
// On any machine it holds a restore to T to this: nothing from after T, every
// record as it was written, and all that the copy had by T, which is what was
// acknowledged a second before T wherever the copy was not further behind; the
// test says by how much it was. That it is not further behind at 1,000
// submissions a second is held by the benchmark, without such an allowance.
func TestDrill(t *testing.T) {
	p := newPlant(t, newVault(t))
	p.replicate()
	p.others()
	copied := &behind{}
	stop := copied.watch(p.replication)
	p.writeFor(1200 * time.Millisecond)
	begun := time.Now()
	p.writeFor(4 * time.Second)
	lost := time.Now()
	stop()
	t.Logf("the copy was %s behind at its worst", copied.most)
	// The disk is lost while all goes on: the vault as it was then has all that
	// was acknowledged two seconds before.
	p.compare(p.restore(RestoreOptions{At: lost}).Dir, lost.Add(-max(2*time.Second, copied.most)), lost)
	moments := []time.Time{begun, begun.Add(1300 * time.Millisecond), begun.Truncate(time.Second).Add(2 * time.Second), begun.Add(2900 * time.Millisecond)}
	for _, at := range moments {
		restored := p.restore(RestoreOptions{At: at})
		slack := max(time.Second, copied.most)
		if late := at.Sub(restored.At); late < 0 || late > slack {
			t.Errorf("restored the state of %s, %s before what was asked for", restored.At, late)
		}
		p.compare(restored.Dir, at.Add(-slack), at)
		if !slices.Equal(restored.Awaited, []string{"r"}) {
			t.Errorf("regions that are awaited: %v", restored.Awaited)
		}
		if restored.Incarnation == restored.Source {
			t.Error("the restored data have the incarnation of before")
		}
	}
	t.Logf("%d jobs were written", len(p.written))
	if len(p.written) < 50 {
		t.Error("that is no load")
	}

	// Stopped in order, nothing at all is lost.
	p.stop()
	restored := p.restore(RestoreOptions{})
	rows := same(t, p.path, filepath.Join(restored.Dir, DatabaseFile))
	for _, table := range []string{
		"jobs", "submissions", "events", "keys", "regions", "tokens", "templates", "webhooks", "deliveries", "pipelines", "schedules",
	} {
		if rows[table] == 0 {
			t.Errorf("table %s was compared and is empty", table)
		}
	}
	p.compare(restored.Dir, time.Now(), time.Now())
}

// same holds every row of every table of two databases against each other, but
// for what a restore changes. It returns how many rows each table has.
func same(t *testing.T, before, after string) map[string]int {
	t.Helper()
	rows := map[string]int{}
	for _, table := range dump(t, before, `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`) {
		table = strings.TrimSuffix(table, "|")
		query := "SELECT * FROM " + table
		switch {
		case strings.HasPrefix(table, "_litestream"):
			continue
		case table == "regions":
			query = `SELECT name, snapshot FROM regions`
		case table == "meta":
			query = `SELECT * FROM meta WHERE name != 'incarnation'`
		}
		a, b := dump(t, before, query), dump(t, after, query)
		if rows[table] = len(a); !slices.Equal(a, b) {
			t.Errorf("%s: %d rows before, %d after, and they differ", table, len(a), len(b))
		}
	}
	if a, b := dump(t, before, `SELECT * FROM sqlite_schema`), dump(t, after, `SELECT * FROM sqlite_schema`); !slices.Equal(a, b) {
		t.Errorf("the schema was %v and is %v", a, b)
	}
	return rows
}

func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func dump(t *testing.T, path, query string) []string {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for rows.Next() {
		row := make([]any, len(columns))
		for i := range row {
			row[i] = new(any)
		}
		if err := rows.Scan(row...); err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, cell := range row {
			text += fmt.Sprintf("%v|", *cell.(*any))
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// TestVaultOnS3 does on a real implementation of S3, over TLS, what the other
// tests do in a directory.
func TestVaultOnS3(t *testing.T) {
	vault, err := OpenVault(t.Context(), blobtest.Start(t, true).Bucket(t, "copies"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = vault.Close() }()
	if err := vault.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := newPlant(t, vault)
	p.replicate()
	copied := &behind{}
	stop := copied.watch(p.replication)
	p.writeFor(2500 * time.Millisecond)
	at := time.Now()
	p.writeFor(1500 * time.Millisecond)
	stop()
	p.compare(p.restore(RestoreOptions{At: at}).Dir, at.Add(-max(time.Second, copied.most)), at)
	keeper, err := NewKeeper(KeeperOptions{
		Source: p.store, Vault: vault, Scratch: filepath.Join(t.TempDir(), "scratch"), Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := keeper.create(t.Context(), Manual, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := Verify(t.Context(), vault, b, t.TempDir(), clock.RealClock{}); err != nil || result.Fault != "" {
		t.Errorf("verifying: %+v, %v", result, err)
	}
	p.compare(p.restore(RestoreOptions{Backup: b.ID}).Dir, b.CreatedAt, time.Now())
	if windows, err := vault.Windows(t.Context()); err != nil || len(windows) != 1 || windows[0].From.After(at) {
		t.Errorf("the windows are %+v (%v)", windows, err)
	}
	if err := errors.Join(keeper.Close(), vault.remove(t.Context(), b.ID)); err != nil {
		t.Error(err)
	}
	if all, err := vault.Backups(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("after its removal there are %+v (%v)", all, err)
	}
	p.stop()
	restored := p.restore(RestoreOptions{})
	same(t, p.path, filepath.Join(restored.Dir, DatabaseFile))
}
