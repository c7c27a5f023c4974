package process

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

func TestBelow(t *testing.T) {
	entry := func(pid, parent int) Entry { return Entry{Process: Process{PID: pid}, Parent: parent} }
	table := []Entry{entry(1, 0), entry(10, 1), entry(11, 10), entry(12, 11), entry(13, 10), entry(20, 1), entry(7, 7)}
	var got []int
	for _, e := range Below(table, 10) {
		got = append(got, e.PID)
	}
	slices.Sort(got)
	if !slices.Equal(got, []int{11, 12, 13}) {
		t.Errorf("below 10: %v", got)
	}
	if got := Below(table, 7); len(got) != 0 {
		t.Errorf("below a process that is its own parent: %v", got)
	}
}

func TestLeftNeverTakesAReusedNumber(t *testing.T) {
	leader := Process{PID: 100, Start: 5}
	member := Entry{Process: Process{PID: 101, Start: 6}, Group: 100, Session: 100}
	same := Entry{Process: leader, Group: 100, Session: 100}
	other := Entry{Process: Process{PID: 100, Start: 9}, Group: 100, Session: 100}
	for _, test := range []struct {
		name  string
		table []Entry
		want  int
	}{
		{"the leader and its group", []Entry{same, member}, 2},
		{"another process with its number", []Entry{other, member}, 0},
		{"a zombie", []Entry{{Process: leader, Group: 100, Zombie: true}}, 0},
		{"nothing", nil, 0},
	} {
		if got := Left(test.table, []Process{leader}, ""); len(got) != test.want {
			t.Errorf("%s: %v, want %d", test.name, got, test.want)
		}
	}
}

func TestSignalIsForOneProcessOnly(t *testing.T) {
	command := exec.Command("sleep", "1000")
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill() })
	entry, err := Look(command.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if entry.Parent != os.Getpid() || entry.Zombie || entry.Start == 0 {
		t.Errorf("%+v", entry)
	}
	wrong := entry.Process
	wrong.Start++
	if err := wrong.Signal(syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signalling the number of an earlier process: %v", err)
	}
	if now, err := Look(entry.PID); err != nil || now.Zombie {
		t.Errorf("it was hit: %+v, %v", now, err)
	}
	if err := entry.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	_ = command.Wait()
	if err := entry.Signal(syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("signalling what has ended: %v", err)
	}
	if _, err := Look(entry.PID); !errors.Is(err, ErrGone) {
		t.Errorf("looking at what has ended: %v", err)
	}
}

func TestSignalGroupRefusesEveryone(t *testing.T) {
	for _, leader := range []int{-1, 0, 1} {
		if SignalGroup(leader, 0) == nil {
			t.Errorf("signalled group %d", leader)
		}
	}
}

func TestTableHasThisProcess(t *testing.T) {
	table, err := Table()
	if err != nil {
		t.Fatal(err)
	}
	self, err := Look(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(table, func(e Entry) bool { return e.Process == self.Process && e.Parent == os.Getppid() }) {
		t.Errorf("%+v is not among %d processes", self, len(table))
	}
}

func TestAlarm(t *testing.T) {
	alarm, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer alarm.Close()
	rings := func() {
		t.Helper()
		select {
		case <-alarm.C:
		case <-time.After(10 * time.Second):
			t.Fatal("the alarm did not ring")
		}
	}
	if err := alarm.Set(Now() - time.Hour); err != nil { // passed already
		t.Fatal(err)
	}
	rings()
	at := Now() + 20*time.Millisecond
	if err := alarm.Set(Now() + time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := alarm.Set(at); err != nil {
		t.Fatal(err)
	}
	rings()
	if early := at - Now(); early > 0 {
		t.Errorf("it rang %s early", early)
	}
}

func TestBoot(t *testing.T) {
	first, err := Boot()
	if err != nil || first == "" {
		t.Fatalf("%q, %v", first, err)
	}
	if second, _ := Boot(); second != first {
		t.Errorf("%q, then %q", first, second)
	}
	if before := Now(); Now() < before {
		t.Error("time went backwards")
	}
}
