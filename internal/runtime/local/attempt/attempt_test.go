package attempt

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime/local/process"
)

// region returns an empty region with one attempt's directory made.
func region(t *testing.T) (Region, Dir, Record) {
	t.Helper()
	r := Region(t.TempDir())
	record := Record{
		ID: ID{Job: string(job.NewID()), Attempt: 3}, Incarnation: "one", Name: "test", Token: "token", Boot: "boot",
		AppliedAt: time.Now().UTC(), Plan: Plan{Parallelism: 1, Pod: Pod{Containers: []Container{{Name: "main", Command: []string{"true"}}}}},
	}
	dir := r.Dir(record.ID)
	for _, path := range []string{r.Statuses(), string(dir)} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := dir.Make(record); err != nil {
		t.Fatal(err)
	}
	return r, dir, record
}

func TestRecordIsReadBack(t *testing.T) {
	r, dir, record := region(t)
	got, err := LoadRecord(dir)
	if err != nil || !reflect.DeepEqual(got, record) {
		t.Errorf("%+v (%v), want %+v", got, err, record)
	}
	if dir.Region() != r {
		t.Errorf("its region is %s, want %s", dir.Region(), r)
	}
}

func TestNames(t *testing.T) {
	id := ID{Job: string(job.NewID()), Attempt: 12}
	if got, err := ParseName(Name(id)); err != nil || got != id {
		t.Errorf("%v (%v), want %v", got, err, id)
	}
	for _, bad := range []string{"", ".", "x.1", id.Job, id.Job + ".x", id.Job + ".-1", id.Job + ".01", "../" + Name(id)} {
		if got, err := ParseName(bad); err == nil {
			t.Errorf("%q is taken for %v", bad, got)
		}
	}
}

func TestStatusIsReplaced(t *testing.T) {
	r, dir, record := region(t)
	code := 7
	for _, status := range []Status{
		{Phase: Running, Boot: "boot", Supervisor: process.Process{PID: 2, Start: 3}, Leaders: []process.Process{{PID: 4, Start: 5}}},
		{Phase: Failed, Reason: "Error", ExitCode: &code, FinishedAt: time.Now().UTC(), Boot: "boot"},
	} {
		if err := status.Save(dir); err != nil {
			t.Fatal(err)
		}
		got, err := LoadStatus(r.Status(record.ID))
		if err != nil || !reflect.DeepEqual(got, status) {
			t.Errorf("%+v (%v), want %+v", got, err, status)
		}
	}
	left, err := os.ReadDir(r.Statuses())
	if err != nil || len(left) != 1 {
		t.Errorf("%v (%v), want one file", left, err)
	}
	if _, err := LoadStatus(r.Status(ID{Job: string(job.NewID())})); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a status that there is not: %v", err)
	}
}

func TestLeaseAllows(t *testing.T) {
	lease := Lease{Boot: "boot", Deadline: 100, Fences: 2}
	for _, test := range []struct {
		name   string
		fences int64
		boot   string
		now    time.Duration
		want   bool
	}{
		{"before the deadline", 2, "boot", 99, true},
		{"at the deadline", 2, "boot", 100, false},
		{"applied before the last fence", 1, "boot", 99, false},
		{"another boot", 2, "other", 99, false},
	} {
		if got := lease.Allows(test.fences, test.boot, test.now); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	var none Lease
	if none.Allows(0, "boot", 0) {
		t.Error("no lease allows something")
	}
	r := Region(t.TempDir())
	if err := lease.Save(r); err != nil {
		t.Fatal(err)
	}
	if got, err := LoadLease(r); err != nil || got != lease {
		t.Errorf("%+v (%v)", got, err)
	}
}

func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TryLock(path); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	got := make(chan error, 1)
	go func() {
		second, err := WaitLock(path)
		if err == nil {
			err = second.Release()
		}
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("did not wait: %v", err)
	default:
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
}

func TestPoke(t *testing.T) {
	_, dir, _ := region(t)
	if err := Poke(dir); err != nil {
		t.Errorf("nobody listens: %v", err)
	}
	fifo, err := os.OpenFile(dir.Control(), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fifo.Close()
	if err := Poke(dir); err != nil {
		t.Fatal(err)
	}
	var buffer [8]byte
	if n, err := fifo.Read(buffer[:]); n != 1 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	// A listener that does not read must not hold up who pokes it.
	for range 1<<16 + 1 {
		if err := Poke(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func TestEvents(t *testing.T) {
	_, dir, _ := region(t)
	at := time.Now().UTC()
	add := func(reason, message string, after time.Duration) {
		t.Helper()
		if err := AppendEvent(dir, Event{At: at.Add(after), Reason: reason, Object: "pod/x", Message: message}); err != nil {
			t.Fatal(err)
		}
	}
	add("Started", "a", 0)
	add("BackOff", "b", 1)
	add("Started", "a", 2)
	file, err := os.OpenFile(dir.Events(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString(`{"at":"20`); err != nil { // cut off by a crash
		t.Fatal(err)
	}
	file.Close()
	got, err := LoadEvents(dir)
	want := []Event{
		{At: at.Add(1), Reason: "BackOff", Object: "pod/x", Message: "b", Count: 1},
		{At: at.Add(2), Reason: "Started", Object: "pod/x", Message: "a", Count: 2},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v (%v), want %+v", got, err, want)
	}
	long := string(bytes.Repeat([]byte("x"), 64<<10))
	for range 40 {
		add("Long", long, 3)
	}
	if info, err := os.Stat(dir.Events()); err != nil || info.Size() > maxEventFile+100<<10 {
		t.Errorf("the log of events grew to %d bytes (%v)", info.Size(), err)
	}
}

func TestWriteDurablyKeepsTheOldFileOnFailure(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := WriteDurably(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkdir(path+".new", 0o700); err != nil { // in the way
		t.Fatal(err)
	}
	if err := WriteDurably(path, []byte("new")); err == nil {
		t.Error("wrote through a directory")
	}
	if text, _ := os.ReadFile(path); string(text) != "old" {
		t.Errorf("it holds %q", text)
	}
}

func FuzzLogLine(f *testing.F) {
	f.Add([]byte("text\n"), int64(1))
	f.Add([]byte("part"), int64(-1))
	f.Add([]byte("\n"), int64(1<<60))
	f.Fuzz(func(t *testing.T, text []byte, nanos int64) {
		at := time.Unix(0, nanos).UTC()
		if at.Year() < 1000 || bytes.ContainsRune(bytes.TrimSuffix(text, []byte("\n")), '\n') {
			return // not one line of a living clock
		}
		stored := AppendLogLine(nil, at, text)
		got, ok := ParseLogLine(bytes.TrimSuffix(stored, []byte("\n")))
		want, whole := bytes.CutSuffix(text, []byte("\n"))
		if !ok || !got.At.Equal(at) || !bytes.Equal(got.Text, want) || got.Whole != whole {
			t.Errorf("%q at %s became %q and then %+v (%v)", text, at, stored, got, ok)
		}
	})
}

func FuzzParseLogLine(f *testing.F) {
	f.Add([]byte("2026-01-02T03:04:05.000000006Z F text"))
	f.Add([]byte("2026-01-02T03:04:05.000000006Z X text"))
	f.Add([]byte("0000-01-01T00:00:00,000000000Z P "))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, stored []byte) {
		line, ok := ParseLogLine(stored)
		if !ok || bytes.ContainsRune(stored, '\n') {
			return // no line, or more than one
		}
		text := line.Text
		if line.Whole {
			text = append(bytes.Clone(text), '\n')
		}
		// It may be written in another way, such as with a comma in the time.
		again, ok := ParseLogLine(bytes.TrimSuffix(AppendLogLine(nil, line.At, text), []byte("\n")))
		if !ok || !reflect.DeepEqual(again, line) {
			t.Errorf("%q is read as %+v, and written again as %+v", stored, line, again)
		}
	})
}

func FuzzLoadStatus(f *testing.F) {
	for _, seed := range []string{`{"phase":"running","leaders":[{"pid":1,"start":2}]}`, `{"phase":"odd"}`, `{"phase":7}`, `[]`, ``, `{"phase":"failed","exitCode":3}`} {
		f.Add([]byte(seed))
	}
	path := filepath.Join(f.TempDir(), "status.json")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		status, err := LoadStatus(path)
		if err != nil {
			if _, corrupt := errors.AsType[*CorruptError](err); !corrupt {
				t.Errorf("%q: %v, want a CorruptError", text, err)
			}
			return
		}
		if _, err := json.Marshal(status); err != nil {
			t.Errorf("%q can be read and not written: %v", text, err)
		}
	})
}

func FuzzLoadRecord(f *testing.F) {
	for _, seed := range []string{`{"id":{"job":"x","attempt":1},"plan":{"parallelism":2,"pod":{"containers":[{"name":"a"}]}}}`, `{"id":{"job":"y","attempt":1}}`, `{"plan":[]}`, `null`, ``} {
		f.Add([]byte(seed))
	}
	dir := Dir(filepath.Join(f.TempDir(), "x.1"))
	if err := os.Mkdir(string(dir), 0o700); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(dir.Record(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		record, err := LoadRecord(dir)
		if _, corrupt := errors.AsType[*CorruptError](err); err != nil && !corrupt {
			t.Errorf("%q: %v, want a CorruptError", text, err)
		}
		if err == nil && record.ID != (ID{Job: "x", Attempt: 1}) {
			t.Errorf("%q is taken for the record of %v", text, record.ID)
		}
	})
}

func FuzzParseName(f *testing.F) {
	f.Add("01a204f1-990d-762f-9269-86bf08f87396.1")
	f.Add("../../x.1")
	f.Fuzz(func(t *testing.T, name string) {
		if id, err := ParseName(name); err == nil && (Name(id) != name || filepath.Base(name) != name) {
			t.Errorf("%q is taken for %v", name, id)
		}
	})
}
