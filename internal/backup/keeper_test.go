package backup

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/internal/store/sqlite"
)

// keeping is a keeper on a fake clock, over a database with a few jobs.
type keeping struct {
	*Keeper
	*plant
	clock *clocktesting.FakeClock
}

func newKeeping(t *testing.T, change ...func(*KeeperOptions)) *keeping {
	t.Helper()
	p := newPlant(t, newVault(t))
	t.Cleanup(p.stop)
	for n := range 10 {
		if err := p.write(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	// A Sunday.
	c := clocktesting.NewFakeClock(time.Date(2030, 1, 6, 12, 0, 0, 0, time.UTC))
	o := KeeperOptions{
		Source: p.store, Vault: p.vault, Scratch: filepath.Join(t.TempDir(), "scratch"), Clock: c, Log: slog.New(slog.DiscardHandler),
		Rules: []Rule{
			{Kind: Daily, At: 3 * time.Hour, Keep: 35 * day},
			{Kind: Weekly, At: 4 * time.Hour, Weekday: time.Sunday, Keep: 90 * day},
		},
	}
	for _, f := range change {
		f(&o)
	}
	k, err := NewKeeper(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return &keeping{k, p, c}
}

func (k *keeping) round() {
	k.t.Helper()
	if err := k.runOnce(k.t.Context()); err != nil {
		k.t.Fatal(err)
	}
}

func (k *keeping) backups() []Backup {
	k.t.Helper()
	all, err := k.Vault.Backups(k.t.Context())
	if err != nil {
		k.t.Fatal(err)
	}
	return all
}

// kinds are those of the backups, newest first.
func (k *keeping) kinds() []Kind {
	k.t.Helper()
	var kinds []Kind
	for _, b := range k.backups() {
		kinds = append(kinds, b.Kind)
	}
	return kinds
}

// TestScheduleOfAYear counts what there is each day: the daily ones of 35 days
// and the weekly ones of 90.
func TestScheduleOfAYear(t *testing.T) {
	rules := []Rule{{Kind: Daily, At: 3 * time.Hour, Keep: 35 * day}, {Kind: Weekly, At: 4 * time.Hour, Weekday: time.Sunday, Keep: 90 * day}}
	start := time.Date(2030, 1, 6, 12, 0, 0, 0, time.UTC)
	var all []Backup
	for now := start; now.Before(start.AddDate(1, 0, 0)); now = now.Add(time.Hour) {
		for _, rule := range missing(rules, all, now) {
			all = slices.Insert(all, 0, Backup{ID: NewID(rule.Kind, now), Kind: rule.Kind, CreatedAt: now, ExpiresAt: now.Add(rule.Keep)})
		}
		gone := expired(all, now)
		all = slices.DeleteFunc(all, func(b Backup) bool {
			return slices.ContainsFunc(gone, func(g Backup) bool { return g.ID == b.ID })
		})
		counts := map[Kind]int{}
		for _, b := range all {
			counts[b.Kind]++
		}
		days := int(now.Sub(start) / day)
		if d, w := counts[Daily], counts[Weekly]; d < min(days, 35) || d > 36 || w < min(days/7, 12) || w > 13 {
			t.Fatalf("after %d days there are %d daily and %d weekly backups", days, d, w)
		}
		if now.Hour() >= 3 && now.Sub(start) > day && !all[0].CreatedAt.After(now.Add(-day)) {
			t.Fatalf("at %s the newest is of %s", now, all[0].CreatedAt)
		}
	}
}

func TestDue(t *testing.T) {
	daily := Rule{Kind: Daily, At: 3 * time.Hour}
	weekly := Rule{Kind: Weekly, At: 4 * time.Hour, Weekday: time.Sunday}
	for _, test := range []struct {
		rule      Rule
		now, want string
	}{
		{daily, "2030-01-06T03:00:00Z", "2030-01-06T03:00:00Z"},
		{daily, "2030-01-06T02:59:59Z", "2030-01-05T03:00:00Z"},
		{daily, "2030-01-06T04:30:00+02:00", "2030-01-05T03:00:00Z"},
		{weekly, "2030-01-06T04:00:00Z", "2030-01-06T04:00:00Z"},
		{weekly, "2030-01-06T03:00:00Z", "2029-12-30T04:00:00Z"},
		{weekly, "2030-01-12T23:00:00Z", "2030-01-06T04:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, test.now)
		if err != nil {
			t.Fatal(err)
		}
		if got := test.rule.due(now).Format(time.RFC3339); got != test.want {
			t.Errorf("%s at %s was due at %s, want %s", test.rule.Kind, test.now, got, test.want)
		}
	}
}

func TestKeeperMakesWhatIsMissingAndRemovesWhatIsOver(t *testing.T) {
	k := newKeeping(t)
	k.round()
	if got := k.kinds(); len(got) != 2 || !slices.Contains(got, Daily) || !slices.Contains(got, Weekly) {
		t.Fatalf("after the first round there are %v", got)
	}
	for _, b := range k.backups() {
		if b.Census.Jobs != 10 || b.Bytes == 0 || b.StoredBytes >= b.Bytes || b.Incarnation == "" || !b.CreatedAt.Equal(k.clock.Now()) {
			t.Errorf("a backup is %+v", b)
		}
	}
	k.round()
	if got := k.kinds(); len(got) != 2 {
		t.Errorf("a second round made %v", got)
	}
	k.clock.Step(15 * time.Hour)
	k.round()
	if got := k.kinds(); len(got) != 3 || got[0] != Daily {
		t.Errorf("after the next night there are %v", got)
	}
	k.clock.Step(35 * day)
	k.round()
	k.round()
	if got := k.kinds(); !slices.Equal(got, []Kind{Weekly, Daily, Weekly}) && !slices.Equal(got, []Kind{Daily, Weekly, Weekly}) {
		t.Errorf("after 35 days there are %v", got)
	}
	entries, err := os.ReadDir(k.Scratch)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in the scratch directory: %v (%v)", entries, err)
	}
	if tally := k.Tally(); !tally.Last[Daily].Equal(k.clock.Now()) || tally.Failed[Daily] != 0 {
		t.Errorf("the tally is %+v", tally)
	}
}

func TestKeptForEver(t *testing.T) {
	k := newKeeping(t, func(o *KeeperOptions) { o.Rules = nil })
	b, err := k.create(t.Context(), Manual, 0)
	if err != nil {
		t.Fatal(err)
	}
	if all := k.backups(); len(all) != 1 || !all[0].ExpiresAt.IsZero() || len(expired(append([]Backup{{}}, all...), b.CreatedAt.AddDate(50, 0, 0))) > 0 {
		t.Errorf("the backups are %+v", all)
	}
}

// fullSource is a database whose disk is full.
type fullSource struct{ Source }

func (f fullSource) CopyTo(_ context.Context, path string) error {
	return errors.Join(os.WriteFile(path, []byte("half"), 0o600), syscall.ENOSPC)
}

func TestFailedBackupLeavesNothingAndIsTriedLater(t *testing.T) {
	full := true
	k := newKeeping(t, func(o *KeeperOptions) { o.Rules = o.Rules[:1] })
	source := k.Source
	k.Source = fullSource{source}
	for range 3 {
		err := k.runOnce(t.Context())
		if full != errors.Is(err, syscall.ENOSPC) {
			t.Errorf("a round with a full disk: %v", err)
		}
		full = false // It is not tried again at once.
	}
	if all := k.backups(); len(all) > 0 || k.Tally().Failed[Daily] != 1 {
		t.Errorf("there are %+v, and %d failed", all, k.Tally().Failed[Daily])
	}
	if last := k.Activities(); len(last) != 1 || !errors.Is(last[0].Err, syscall.ENOSPC) {
		t.Errorf("the activities are %+v", last)
	}
	entries, err := os.ReadDir(k.Scratch)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in the scratch directory: %v (%v)", entries, err)
	}
	k.Source = source
	k.clock.Step(retryBackup)
	k.round()
	if got := k.kinds(); !slices.Equal(got, []Kind{Daily}) {
		t.Errorf("with room again there are %v", got)
	}
}

func TestOneAtATime(t *testing.T) {
	k := newKeeping(t)
	_, done, err := k.Take(Activity{ID: "one", Kind: Manual})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.StartCreate(time.Hour); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one: %v", err)
	}
	k.round()
	if got := k.kinds(); len(got) > 0 {
		t.Errorf("beside another one %v were made", got)
	}
	done(nil)
	k.round()
	if got := k.kinds(); len(got) != 2 {
		t.Errorf("afterwards there are %v", got)
	}
}

// TestVerifyFindsDamage damages every part of a backup.
func TestVerifyFindsDamage(t *testing.T) {
	k := newKeeping(t)
	b, err := k.create(t.Context(), Manual, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(k.vault.String(), backupPrefix, b.ID)
	verify := func() (Verification, error) {
		found, err := k.Find(t.Context(), b.ID)
		if err != nil {
			return Verification{}, err
		}
		return Verify(t.Context(), k.vault, found, t.TempDir(), clock.RealClock{})
	}
	if result, err := verify(); err != nil || result.Fault != "" {
		t.Fatalf("a whole backup: %+v, %v", result, err)
	}
	whole := map[string][]byte{}
	for _, name := range []string{databaseName, manifestName} {
		if whole[name], err = os.ReadFile(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	size := len(whole[databaseName])
	damages := map[string]func() error{
		"a missing database": func() error { return os.Remove(filepath.Join(folder, databaseName)) },
		"a cut database":     func() error { return os.Truncate(filepath.Join(folder, databaseName), int64(size/2)) },
		"a longer database": func() error {
			return os.WriteFile(filepath.Join(folder, databaseName), append(slices.Clone(whole[databaseName]), 0, 1, 2, 3), 0o600)
		},
		"a wrong count": func() error {
			return os.WriteFile(filepath.Join(folder, manifestName), bytes.Replace(whole[manifestName], []byte(`"jobs": 10`), []byte(`"jobs": 11`), 1), 0o600)
		},
		"a manifest that is none": func() error { return os.WriteFile(filepath.Join(folder, manifestName), []byte("{"), 0o600) },
		"another one's manifest": func() error {
			return os.WriteFile(filepath.Join(folder, manifestName), bytes.ReplaceAll(whole[manifestName], []byte(b.ID), []byte("20300106-120000-daily-000000")), 0o600)
		},
	}
	for i := range 20 {
		at := i * size / 20
		damages["a flipped byte"+strings.Repeat(" ", i)] = func() error {
			text := slices.Clone(whole[databaseName])
			text[at] ^= 0x10
			return os.WriteFile(filepath.Join(folder, databaseName), text, 0o600)
		}
	}
	for name, damage := range damages {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if _, err := verify(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		dir := filepath.Join(t.TempDir(), "restored")
		if name != "a wrong count" {
			_, err := Restore(t.Context(), RestoreOptions{Vault: k.vault, Dir: dir, Backup: b.ID, Clock: clock.RealClock{}})
			if _, stat := os.Stat(dir); !errors.Is(err, ErrDamaged) || stat == nil {
				t.Errorf("restoring %s: %v, and the directory: %v", name, err, stat)
			}
		}
		for part, text := range whole {
			if err := os.WriteFile(filepath.Join(folder, part), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if result, err := verify(); err != nil || result.Fault != "" {
		t.Errorf("mended: %+v, %v", result, err)
	}
	// Without its manifest there is no backup.
	if err := os.Remove(filepath.Join(folder, manifestName)); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Find(t.Context(), b.ID); !errors.Is(err, ErrNotFound) || len(k.backups()) > 0 {
		t.Errorf("a backup without a manifest: %v", err)
	}
}

func TestRestoreNeverTouchesWhatIsThere(t *testing.T) {
	k := newKeeping(t)
	b, err := k.create(t.Context(), Manual, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	o := RestoreOptions{Vault: k.vault, Dir: filepath.Join(dir, "new"), Backup: b.ID, Clock: clock.RealClock{}}
	// What another restore left half-way is ours to remove.
	if err := makeUnfinished(o.Dir + unfinished); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir+unfinished, DatabaseFile), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(o.Dir)
	if err != nil || len(entries) != 2 || entries[0].Name() != DatabaseFile || entries[1].Name() != DatabaseFile+".lock" {
		t.Errorf("a restored directory holds %v (%v)", entries, err)
	}
	before, err := os.ReadFile(filepath.Join(o.Dir, DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), o); !errors.Is(err, ErrOccupied) {
		t.Errorf("restoring over a restored directory: %v", err)
	}
	if after, err := os.ReadFile(filepath.Join(o.Dir, DatabaseFile)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the database was touched (%v)", err)
	}
	// Nor what only happens to have the name.
	other := o
	other.Dir = filepath.Join(dir, "other")
	if err := errors.Join(os.Mkdir(other.Dir, 0o700), os.Mkdir(other.Dir+unfinished, 0o700), os.WriteFile(filepath.Join(other.Dir+unfinished, "mine"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), other); !errors.Is(err, ErrOccupied) {
		t.Errorf("restoring where something is in the way: %v", err)
	}
	if err := os.RemoveAll(other.Dir + unfinished); err != nil {
		t.Fatal(err)
	}
	if _, err := Restore(t.Context(), other); err != nil {
		t.Errorf("restoring into an empty directory: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	third := o
	third.Dir = filepath.Join(dir, "third")
	if _, err := Restore(cancelled, third); err == nil {
		t.Error("a cancelled restore returned nil")
	}
	for _, name := range []string{third.Dir, third.Dir + unfinished} {
		if _, err := os.Stat(name); err == nil {
			t.Errorf("a cancelled restore left %s", name)
		}
	}
}

func TestExamineFindsAWrongCounter(t *testing.T) {
	p := newPlant(t, newVault(t))
	if err := p.write(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	p.stop()
	if _, err := sqlite.Examine(t.Context(), p.path, Recount); err != nil {
		t.Fatal(err)
	}
	execute(t, p.path, `UPDATE counts SET jobs = jobs + 1`)
	if _, err := sqlite.Examine(t.Context(), p.path, Check); err != nil {
		t.Errorf("checking pages: %v", err)
	}
	if _, err := sqlite.Examine(t.Context(), p.path, Recount); !errors.Is(err, sqlite.ErrCorrupt) || !strings.Contains(err.Error(), "counts") {
		t.Errorf("a recount: %v", err)
	}
}

// TestHistoriesOfBeforeARestore keeps the history of before for as long as any
// other, and makes backups of the new data at once.
func TestHistoriesOfBeforeARestore(t *testing.T) {
	k := newKeeping(t)
	// Histories have real times.
	k.clock.SetTime(time.Now())
	k.replicate()
	k.Replication = k.replication
	k.round()
	before, err := k.store.Incarnation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := k.replication.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := k.store.Reincarnate(t.Context(), k.clock.Now()); err != nil {
		t.Fatal(err)
	}
	k.replicate()
	k.Replication = k.replication
	k.round()
	if all := k.backups(); len(all) != 4 {
		t.Errorf("after a restore there are %d backups, want a daily and a weekly one of each history", len(all))
	}
	windows, err := k.Windows(t.Context())
	if err != nil || len(windows) != 2 || windows[0].Incarnation != before {
		t.Fatalf("the windows are %+v (%v)", windows, err)
	}
	if restored := restoreAll(t, k.vault, RestoreOptions{At: windows[0].To.Add(time.Millisecond)}); restored.Source != before {
		t.Errorf("restoring a time of before took %s", restored.Source)
	}
	k.clock.SetTime(time.Now().Add(2 * time.Hour))
	k.Rules = k.Rules[:1]
	k.round()
	if windows, err := k.Windows(t.Context()); err != nil || len(windows) != 1 || windows[0].Incarnation == before {
		t.Errorf("after its time the windows are %+v (%v)", windows, err)
	}
}
