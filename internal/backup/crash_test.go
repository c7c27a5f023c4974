package backup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// The environment by which a test starts itself again as another process.
const (
	childTask  = "GCO_BACKUP_TEST_TASK"
	childDir   = "GCO_BACKUP_TEST_DIR"
	childVault = "GCO_BACKUP_TEST_VAULT"
)

func TestMain(m *testing.M) {
	tasks := map[string]func(context.Context, string, *Vault) error{
		"work": workUntilKilled, "restore": restoreUntilKilled, "full": restoreOntoAFullDisk,
	}
	if task := tasks[os.Getenv(childTask)]; task != nil {
		vault, err := OpenVault(context.Background(), os.Getenv(childVault))
		if err == nil {
			err = task(context.Background(), os.Getenv(childDir), vault)
		}
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(t *testing.T, task, dir string, vault *Vault) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childTask+"="+task, childDir+"="+dir, childVault+"="+vault.String())
	cmd.Stderr = os.Stderr
	return cmd
}

// workUntilKilled does what a server does: it copies changes, makes backups
// one after the other, and takes jobs, which it prints when they are stored.
func workUntilKilled(ctx context.Context, dir string, vault *Vault) error {
	path := filepath.Join(dir, DatabaseFile)
	s, err := sqlite.Open(ctx, sqlite.Options{Path: path, Checkpointed: true})
	if err != nil {
		return err
	}
	incarnation, err := s.Incarnation(ctx)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	replication, err := StartReplication(ctx, ReplicationOptions{
		Database: path, Incarnation: incarnation, Vault: vault, EverySecond: time.Hour, Keep: time.Hour, Clock: clock.RealClock{}, Log: log,
	}, time.Minute)
	if err != nil {
		return err
	}
	keeper, err := NewKeeper(KeeperOptions{Source: s, Vault: vault, Scratch: filepath.Join(dir, "scratch"), Clock: clock.RealClock{}, Log: log})
	if err != nil {
		return err
	}
	go func() {
		for ctx.Err() == nil {
			if _, err := keeper.create(ctx, Manual, time.Hour); err != nil {
				fmt.Println("error: making a backup:", err)
			}
		}
	}()
	go func() {
		behind := &behind{}
		for ctx.Err() == nil {
			if behind.look(replication) {
				fmt.Println("behind", behind.most)
			}
			<-time.After(5 * time.Millisecond)
		}
	}()
	for n := 0; ; n++ {
		answers, err := s.Insert(ctx, []store.Submission{newSubmission(n)})
		if err != nil || answers[0].Err != nil {
			return errors.Join(err, answers[0].Err)
		}
		fmt.Println(answers[0].Job.ID)
	}
}

// killed runs a task until it has printed so many lines and then for a time
// that delay makes of the time that they took, and returns what it printed
// with when.
func killed(t *testing.T, cmd *exec.Cmd, begin int, delay func(took time.Duration) time.Duration) map[string]time.Time {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := map[string]time.Time{}
	lines := bufio.NewScanner(out)
	var first time.Time
	for lines.Scan() {
		if len(said) == 0 {
			first = time.Now()
		}
		if len(said) == begin-1 {
			// It is killed once, and ends by nothing else.
			time.AfterFunc(delay(time.Since(first)), func() { _ = cmd.Process.Kill() })
		}
		if strings.HasPrefix(lines.Text(), "error:") {
			t.Error(lines.Text())
		}
		said[lines.Text()] = time.Now()
	}
	_ = cmd.Wait()
	return said
}

// TestKilledServer kills a process at random moments, while it copies changes
// and makes backups: it goes on where it was, every backup in the vault is
// whole, and the vault has all that was acknowledged two seconds before.
func TestKilledServer(t *testing.T) {
	vault := newVault(t)
	dir := filepath.Join(t.TempDir(), "data")
	acked := map[job.ID]time.Time{}
	for round := range 4 {
		var last time.Time
		promised := 2 * time.Second
		someSeconds := func(time.Duration) time.Duration {
			return 800*time.Millisecond + time.Duration(rand.Int64N(int64(1700*time.Millisecond)))
		}
		for line, at := range killed(t, child(t, "work", dir, vault), 1, someSeconds) {
			if text, is := strings.CutPrefix(line, "behind "); is {
				promised = max(promised, atLeast(t, text))
				continue
			}
			acked[job.ID(line)] = at
			if at.After(last) {
				last = at
			}
		}
		// The disk is lost with the process.
		restored := restoreAll(t, vault, RestoreOptions{})
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(restored.Dir, DatabaseFile)})
		if err != nil {
			t.Fatal(err)
		}
		lost, worst := 0, time.Duration(0)
		for id, at := range acked {
			if _, err := s.Job(t.Context(), id); err != nil {
				lost, worst = lost+1, max(worst, last.Sub(at))
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: %d of %d jobs are lost with the disk, the last %s", round, lost, len(acked), worst)
		if worst > promised {
			t.Errorf("round %d: what was acknowledged %s before the end is lost with the disk", round, worst)
		}
	}
	if len(acked) < 40 {
		t.Errorf("%d jobs are no load", len(acked))
	}
	// The process alone costs nothing.
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, DatabaseFile), Checkpointed: true})
	if err != nil {
		t.Fatal(err)
	}
	for id := range acked {
		if _, err := s.Job(t.Context(), id); err != nil {
			t.Fatalf("job %s: %v", id, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all, err := vault.Backups(t.Context())
	if err != nil || len(all) == 0 {
		t.Fatalf("%d backups (%v)", len(all), err)
	}
	for _, b := range all[:min(len(all), 8)] {
		if result, err := Verify(t.Context(), vault, b, t.TempDir(), clock.RealClock{}); err != nil || result.Fault != "" {
			t.Errorf("backup %s: %+v, %v", b.ID, result, err)
		}
	}
}

func atLeast(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func restoreAll(t *testing.T, vault *Vault, o RestoreOptions) Restored {
	t.Helper()
	o.Vault, o.Depth, o.Clock, o.Dir = vault, Recount, clock.RealClock{}, filepath.Join(t.TempDir(), "restored")
	restored, err := Restore(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return restored
}

// restoreUntilKilled restores over and over.
func restoreUntilKilled(ctx context.Context, dir string, vault *Vault) error {
	for n := 0; ; n++ {
		to := filepath.Join(dir, fmt.Sprint(n))
		fmt.Println(to)
		if _, err := Restore(ctx, RestoreOptions{Vault: vault, Dir: to, Depth: Check, Clock: clock.RealClock{}}); err != nil {
			return err
		}
	}
}

// TestKilledRestore kills a restore at random moments: what has the name of the
// directory is whole, and the next restore clears the rest away.
func TestKilledRestore(t *testing.T) {
	p := newPlant(t, newVault(t))
	p.replicate()
	for n := range 200 {
		if err := p.write(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	p.stop()
	finished, interrupted := 0, 0
	for range 12 {
		dir := t.TempDir()
		within := func(took time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(took))) }
		for to := range killed(t, child(t, "restore", dir, p.vault), 2, within) {
			o := RestoreOptions{Vault: p.vault, Dir: to, Clock: clock.RealClock{}}
			if _, err := os.Stat(to); err == nil {
				finished++
				census, err := sqlite.Examine(t.Context(), filepath.Join(to, DatabaseFile), Recount)
				if err != nil || census.Jobs != 200 {
					t.Errorf("%s holds %+v (%v)", to, census, err)
				}
				continue
			}
			interrupted++
			if _, err := Restore(t.Context(), o); err != nil {
				t.Errorf("restoring once more: %v", err)
			}
			if _, err := os.Stat(to + unfinished); err == nil {
				t.Errorf("%s is left", to+unfinished)
			}
		}
	}
	t.Logf("%d restores were whole, %d were interrupted", finished, interrupted)
	if finished == 0 || interrupted == 0 {
		t.Error("the moments were not well chosen")
	}
}

// restoreOntoAFullDisk restores while files may not grow.
func restoreOntoAFullDisk(ctx context.Context, dir string, vault *Vault) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for _, id := range []string{"", os.Getenv("GCO_BACKUP_TEST_ID")} {
		o := RestoreOptions{Vault: vault, Dir: filepath.Join(dir, "to"+id), Backup: id, Clock: clock.RealClock{}}
		small := limit
		small.Cur = 64 << 10
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
			return err
		}
		if _, err := Restore(ctx, o); !errors.Is(err, syscall.EFBIG) && (err == nil || !strings.Contains(err.Error(), "too large")) {
			return fmt.Errorf("restoring %q onto a full disk: %w", id, err)
		}
		for _, name := range []string{o.Dir, o.Dir + unfinished} {
			if _, err := os.Stat(name); err == nil {
				return fmt.Errorf("%s is left", name)
			}
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			return err
		}
		if _, err := Restore(ctx, o); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	return nil
}

func TestRestoreOntoAFullDisk(t *testing.T) {
	p := newPlant(t, newVault(t))
	p.replicate()
	for n := range 100 {
		if err := p.write(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	keeper, err := NewKeeper(KeeperOptions{
		Source: p.store, Vault: p.vault, Scratch: filepath.Join(t.TempDir(), "scratch"), Clock: clock.RealClock{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := keeper.create(t.Context(), Manual, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Close(); err != nil {
		t.Fatal(err)
	}
	p.stop()
	cmd := child(t, "full", t.TempDir(), p.vault)
	cmd.Env = append(cmd.Env, "GCO_BACKUP_TEST_ID="+b.ID)
	if out, err := cmd.Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestDamagedHistory loses and damages files of a history: a restore says so
// and leaves nothing, or is whole.
func TestDamagedHistory(t *testing.T) {
	p := newPlant(t, newVault(t))
	p.replicate()
	for n := range 60 {
		if err := p.write(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		if n%20 == 0 {
			if err := p.replication.copy(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	incarnation, err := p.store.Incarnation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.stop()
	folder := filepath.Join(p.vault.String(), historyPrefix, incarnation)
	damaged := 0
	err = filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		flipped := append([]byte{}, whole...)
		flipped[len(flipped)/2] ^= 0x20
		for what, damage := range map[string]func() error{
			"without":                func() error { return os.Remove(path) },
			"with a cut":             func() error { return os.Truncate(path, int64(len(whole)/2)) },
			"with a flipped byte in": func() error { return os.WriteFile(path, flipped, 0o600) },
		} {
			if err := damage(); err != nil {
				return err
			}
			to := filepath.Join(t.TempDir(), "restored")
			restored, err := Restore(t.Context(), RestoreOptions{Vault: p.vault, Dir: to, Depth: Recount, Clock: clock.RealClock{}})
			switch {
			case err != nil:
				damaged++
				if _, stat := os.Stat(to); stat == nil || !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNotFound) && !errors.Is(err, sqlite.ErrCorrupt) {
					t.Errorf("%s %s: %v", what, entry.Name(), err)
				}
			case restored.Census.Jobs != 60 && what != "without":
				t.Errorf("%s %s the restore has %d jobs and says nothing", what, entry.Name(), restored.Census.Jobs)
			}
			if err := os.WriteFile(path, whole, 0o600); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if damaged == 0 {
		t.Error("no damage was found")
	}
	// Without a file in the middle, times after it are refused, those before it
	// are not.
	files, err := filepath.Glob(filepath.Join(folder, "0", "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("the finest files are %v (%v)", files, err)
	}
	middle, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	_, err = Restore(t.Context(), RestoreOptions{Vault: p.vault, Dir: filepath.Join(t.TempDir(), "to"), At: time.Now(), Clock: clock.RealClock{}})
	if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "breaks off after") {
		t.Errorf("restoring a time after a gap: %v", err)
	}
	first, ok := parseChanges("0/"+filepath.Base(files[0]), 1)
	if !ok {
		t.Fatalf("%s is no name", files[0])
	}
	if restored := restoreAll(t, p.vault, RestoreOptions{At: first.CreatedAt.Add(time.Millisecond)}); !restored.At.Equal(first.CreatedAt) {
		t.Errorf("restoring a time before a gap: %+v", restored)
	}
	if err := os.WriteFile(files[1], middle, 0o600); err != nil {
		t.Fatal(err)
	}
	if restored := restoreAll(t, p.vault, RestoreOptions{}); restored.Census.Jobs != 60 {
		t.Errorf("mended, it has %d jobs", restored.Census.Jobs)
	}
}

func FuzzParseChanges(f *testing.F) {
	for _, name := range []string{
		"0/0000000000000001-0000000000000001-1790000000123.ltx", "9/0000000000000001-00000000000000ff-0.ltx", "0/1-1-1.ltx", "x", "00/-.ltx",
		"3/0000000000000002-0000000000000001-5.ltx",
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		info, ok := parseChanges(name, 1)
		if ok && newHistory(nil, "i").key(&info) != historyPrefix+"i/"+name {
			t.Errorf("%q is %+v, whose name is another", name, info)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"id":"20300106-120000-daily-abcdef","kind":"daily","createdAt":"2030-01-06T12:00:00Z","bytes":1,"census":{"jobs":1}}`))
	f.Add([]byte(`{"id":1}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var b Backup
		if decode(text, &b) == nil {
			var again Backup
			if err := decode([]byte(jsonOf(b)), &again); err != nil || jsonOf(again) != jsonOf(b) {
				t.Errorf("%s is read as %s (%v)", jsonOf(b), jsonOf(again), err)
			}
		}
	})
}
