package local

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/runtime"
)

// BenchmarkApply measures one attempt after the other: until Apply returns,
// until its first process is started, and until its end is seen.
func BenchmarkApply(b *testing.B) {
	r := openTest(b, testOptions(b))
	var held, started, ended []time.Duration
	before, children := cpu(b, syscall.RUSAGE_SELF), cpu(b, syscall.RUSAGE_CHILDREN)
	for b.Loop() {
		a := attemptOf(newID(), "exit 0")
		began := time.Now()
		apply(b, r, a)
		held = append(held, time.Since(began))
		o := awaitEnd(b, r, a.ID)
		ended = append(ended, time.Since(began))
		started = append(started, o.StartedAt.Sub(began))
		if err := r.Forget(b.Context(), a.ID); err != nil {
			b.Fatal(err)
		}
	}
	attempts := float64(len(held))
	b.ReportMetric((cpu(b, syscall.RUSAGE_SELF)-before)/attempts, "cpu-ms-agent")
	b.ReportMetric((cpu(b, syscall.RUSAGE_CHILDREN)-children)/attempts, "cpu-ms-supervisor-and-job")
	report(b, "held", held)
	report(b, "started", started)
	report(b, "ended", ended)
}

// cpu is the CPU time of this process, or of children that have ended with
// theirs, in milliseconds.
func cpu(b *testing.B, who int) float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(who, &usage); err != nil {
		b.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e6
}

func report(b *testing.B, name string, times []time.Duration) {
	slices.Sort(times)
	for _, quantile := range []struct {
		name string
		at   float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		at := times[int(quantile.at*float64(len(times)-1))]
		b.ReportMetric(float64(at.Microseconds())/1000, name+"-"+quantile.name+"-ms")
	}
}

// BenchmarkIdle holds attempts that run and do nothing, and reports what a
// supervisor takes of memory (RSS counts pages that all of them share) and of
// one core.
func BenchmarkIdle(b *testing.B) {
	const attempts = 20
	r := openTest(b, testOptions(b))
	var pids []int
	for range attempts {
		a := attemptOf(newID(), "exec sleep 1000")
		apply(b, r, a)
		awaitPhase(b, r, a.ID, runtime.PhaseRunning)
		pids = append(pids, supervisorOf(b, r, a.ID))
	}
	for b.Loop() {
		// What is idle can only be seen over time.
		before, began := ticks(b, pids), time.Now()
		<-time.After(2 * time.Second)
		used := float64(ticks(b, pids)-before) / 100
		b.ReportMetric(100*used/time.Since(began).Seconds()/attempts, "%cpu/supervisor")
	}
	for _, field := range []string{"Rss", "Pss", "Private_Dirty"} {
		b.ReportMetric(float64(memory(b, pids, field))/attempts/1024, field+"-MB/supervisor")
	}
}

// ticks sums the CPU time of some processes in hundredths of a second.
func ticks(b *testing.B, pids []int) (total int) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			b.Fatal(err)
		}
		fields := strings.Fields(string(text[strings.LastIndex(string(text), ")")+1:]))
		user, _ := strconv.Atoi(fields[11])
		system, _ := strconv.Atoi(fields[12])
		total += user + system
	}
	return total
}

// memory sums a field of smaps_rollup, in KiB.
func memory(b *testing.B, pids []int, field string) (total int) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			b.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, field+":"); ok {
				amount, _ := strconv.Atoi(strings.Fields(rest)[0])
				total += amount
			}
		}
	}
	return total
}
