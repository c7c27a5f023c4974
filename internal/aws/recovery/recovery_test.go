package recovery

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/backup"
	store "github.com/gco-project/gco/internal/store/dynamodb"
)

func (f *fake) options() Options {
	return Options{Project: "gco", EndpointURL: f.url, Clock: clocktesting.NewFakeClock(f.now), Log: slog.New(slog.DiscardHandler)}
}

func newKeeper(t *testing.T, f *fake) (*Keeper, *clocktesting.FakeClock) {
	t.Helper()
	o := f.options()
	k, err := NewKeeper(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k, o.Clock.(*clocktesting.FakeClock)
}

// settle lets the clock go on until nothing is under way, and returns what
// came of the last activity.
func settle(t *testing.T, k *Keeper, c *clocktesting.FakeClock) backup.Activity {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		all := k.Activities()
		if last := all[len(all)-1]; !last.EndedAt.IsZero() {
			return last
		}
		c.Step(lookEvery)
		select {
		case <-timeout:
			t.Fatal("it does not end")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestBackupIsOneOfEveryTable(t *testing.T) {
	f := startFake(t, "gco")
	k, c := newKeeper(t, f)
	begun, err := k.StartCreate(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.StartCreate(time.Hour); !errors.Is(err, backup.ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	if done := settle(t, k, c); done.Err != nil {
		t.Fatal(done.Err)
	}
	all, err := k.List(t.Context())
	if err != nil || len(all) != 1 || all[0].ID != begun.ID || all[0].Bytes != int64(1000*len(store.Tables)) || !all[0].ExpiresAt.Equal(f.now.Add(time.Hour)) {
		t.Fatalf("the backups are %+v (%v)", all, err)
	}
	if all[0].Contents() != nil {
		t.Errorf("contents that nobody counted: %v", all[0].Contents())
	}
	if _, err := k.StartVerify(t.Context(), begun.ID); err != nil {
		t.Fatal(err)
	}
	if done := settle(t, k, c); done.Err != nil || !done.Verifying {
		t.Errorf("verifying: %+v", done)
	}
	found, err := k.Find(t.Context(), begun.ID)
	if err != nil || found.Verification == nil || found.Verification.Fault != "" {
		t.Errorf("after verifying it is %+v (%v)", found, err)
	}

	// A part that is gone makes it none.
	f.mu.Lock()
	gone := f.made[0]
	f.made = f.made[1:]
	f.mu.Unlock()
	if _, err := k.Find(t.Context(), begun.ID); !errors.Is(err, backup.ErrNotFound) {
		t.Errorf("a backup without the part of %s: %v", gone.table, err)
	}
	if err := k.Verify(t.Context(), begun.ID); !errors.Is(err, backup.ErrDamaged) {
		t.Errorf("verifying it: %v", err)
	}
	c.SetTime(f.now.Add(2 * time.Hour))
	if err := k.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(f.made) != 0 {
		t.Errorf("after its time there are %d parts", len(f.made))
	}
}

func TestBackupOfATableThatIsMissing(t *testing.T) {
	f := startFake(t, "gco")
	delete(f.tables, "gco-events")
	k, c := newKeeper(t, f)
	if _, err := k.StartCreate(0); err != nil {
		t.Fatal(err)
	}
	if done := settle(t, k, c); !errors.Is(done.Err, backup.ErrNotFound) || !strings.Contains(done.Err.Error(), "gco-events") {
		t.Errorf("it ended with %v", done.Err)
	}
	if _, err := k.Windows(t.Context()); !errors.Is(err, backup.ErrNotFound) {
		t.Errorf("the windows: %v", err)
	}
}

// restored runs Restore, and lets time pass.
func restored(t *testing.T, f *fake, change func(*RestoreOptions)) (backup.Restored, error) {
	t.Helper()
	o := RestoreOptions{Options: f.options(), To: "gco-restored", Say: func(string) {}}
	o.Reincarnate = func(_ context.Context, project string) (string, []string, error) {
		for _, table := range tablesOf(project, nil) {
			if f.tables[table.full] == nil {
				t.Errorf("a new incarnation before there is %s", table.full)
			}
		}
		return "new", []string{"east"}, nil
	}
	change(&o)
	clock := o.Clock.(*clocktesting.FakeClock)
	done, finish := context.WithCancel(t.Context())
	go func() {
		for done.Err() == nil {
			clock.Step(lookEvery)
			<-time.After(time.Millisecond)
		}
	}()
	defer finish()
	return Restore(t.Context(), o)
}

func TestRestoreToASecond(t *testing.T) {
	f := startFake(t, "gco")
	at := f.now.Add(-72*time.Hour + 300*time.Millisecond)
	got, err := restored(t, f, func(o *RestoreOptions) { o.At = at })
	if err != nil {
		t.Fatal(err)
	}
	second := at.Truncate(time.Second)
	if got.Incarnation != "new" || !slices.Equal(got.Awaited, []string{"east"}) || !got.At.Equal(second) || got.Dir != "gco-restored" {
		t.Errorf("restored %+v", got)
	}
	for _, table := range store.Tables {
		name := "gco-restored-" + table.Name
		made := f.tables[name]
		if made == nil || made.from != "gco-"+table.Name+" at "+second.Format(time.RFC3339) || !made.pitr || made.ttl != table.TTL {
			t.Errorf("the table %s is %+v", name, made)
		}
	}
	// The table with the incarnation is begun when all others are whole.
	begun := slices.Index(f.calls, "RestoreTableToPointInTime gco-restored-"+store.TableState)
	for i, call := range f.calls {
		if strings.HasPrefix(call, "RestoreTable") && i > begun {
			t.Errorf("%s comes after the table of the incarnation", call)
		}
	}
	if _, err := restored(t, f, func(*RestoreOptions) {}); !errors.Is(err, backup.ErrOccupied) {
		t.Errorf("the same once more: %v", err)
	}
}

func TestRestoreTakesOneTimeForAllTables(t *testing.T) {
	f := startFake(t, "gco")
	got, err := restored(t, f, func(*RestoreOptions) {})
	if err != nil || !got.At.Equal(f.now.Add(-5*time.Minute)) {
		t.Errorf("restored the last state as of %s (%v)", got.At, err)
	}
}

func TestRestoreOfABackup(t *testing.T) {
	f := startFake(t, "gco")
	k, c := newKeeper(t, f)
	begun, err := k.StartCreate(0)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, k, c)
	got, err := restored(t, f, func(o *RestoreOptions) { o.Backup = begun.ID })
	if err != nil || got.Source != begun.ID {
		t.Fatalf("restored %+v (%v)", got, err)
	}
	if from := f.tables["gco-restored-jobs"].from; !strings.Contains(from, "table/gco-jobs/backup/") {
		t.Errorf("the table of jobs comes from %s", from)
	}
}

func TestRestoreRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fake, *RestoreOptions)
		want   error
		text   string
	}{
		"a time before the first": {func(f *fake, o *RestoreOptions) { o.At = f.now.Add(-29 * 24 * time.Hour) }, backup.ErrNotFound, "2029-12-12T12:00:00Z"},
		"a time to come":          {func(f *fake, o *RestoreOptions) { o.At = f.now }, backup.ErrNotFound, "2030-01-06T11:55:00Z"},
		"no recovery":             {func(f *fake, _ *RestoreOptions) { f.tables["gco-jobs"].pitr = false }, backup.ErrNotFound, "take a backup"},
		"no such backup":          {func(_ *fake, o *RestoreOptions) { o.Backup = "20300106-120000-manual-abcdef" }, backup.ErrNotFound, "abcdef"},
		"a table in the way":      {func(f *fake, _ *RestoreOptions) { f.tables["gco-restored-jobs"] = &fakeTable{} }, backup.ErrOccupied, "gco-restored-jobs"},
		"no permission":           {func(f *fake, _ *RestoreOptions) { f.denied = "RestoreTableToPointInTime" }, nil, "not authorized to perform: dynamodb:RestoreTableToPointInTime"},
	} {
		t.Run(name, func(t *testing.T) {
			f := startFake(t, "gco")
			_, err := restored(t, f, func(o *RestoreOptions) { test.change(f, o) })
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, want %v with %q", err, test.want, test.text)
			}
			if f.tables["gco-restored-"+store.TableState] != nil {
				t.Error("the table of the incarnation was made all the same")
			}
		})
	}
}

func FuzzParseName(f *testing.F) {
	f.Add(nameOf("20300106-120000-manual-abcdef", time.Unix(1_900_000_000, 0)))
	f.Add(nameOf("20300106-120000-manual-abcdef", time.Time{}))
	f.Add("gco..1")
	f.Add("somebody-else")
	f.Fuzz(func(t *testing.T, name string) {
		id, expires, ours := parseName(name)
		if !ours {
			return
		}
		again, same, ok := parseName(nameOf(id, expires))
		if !ok || again != id || !same.Equal(expires) {
			t.Errorf("%q is %q until %s, and again %q until %s (%t)", name, id, expires, again, same, ok)
		}
	})
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]Options{
		"dynamodb://gco":                  {Project: "gco"},
		"dynamodb://gco?region=us-east-2": {Project: "gco", Region: "us-east-2"},
		"dynamodb://gco?region=us-east-2&endpoint=http://127.0.0.1:8000": {Project: "gco", Region: "us-east-2", EndpointURL: "http://127.0.0.1:8000"},
	} {
		got, err := ParseURL(text)
		if err != nil || got.Project != want.Project || got.Region != want.Region || got.EndpointURL != want.EndpointURL {
			t.Errorf("%s is %+v (%v)", text, got, err)
		}
	}
	for _, text := range []string{"", "dynamodb://", "s3://gco", "dynamodb://gco/jobs", "dynamodb://gco?table=jobs", "dynamodb://u@gco", "dynamodb://gco?%zz"} {
		if o, err := ParseURL(text); err == nil {
			t.Errorf("%q is %+v", text, o)
		}
	}
}
