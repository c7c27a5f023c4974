package local

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/runtime"
)

func logsOf(t *testing.T, r *Runtime, id job.AttemptID, options runtime.LogOptions) string {
	t.Helper()
	stream, err := r.Logs(t.Context(), id, options)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	text, err := io.ReadAll(stream)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// firstLine waits for the first line that an attempt writes.
func firstLine(t *testing.T, r *Runtime, id job.AttemptID) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := r.Logs(ctx, id, runtime.LogOptions{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	line, err := bufio.NewReader(stream).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// A process that hands its output to somebody outside does not hold up the end.
func TestOutputThatStaysOpen(t *testing.T) {
	t.Run("success", func(t *testing.T) {
		outputThatStaysOpen(t, runtime.PhaseSucceeded, func(r *Runtime, id job.AttemptID) error {
			(&fixture{r.options}).Release(t, id)
			return nil
		})
	})
	t.Run("fence", func(t *testing.T) {
		outputThatStaysOpen(t, runtime.PhaseLost, func(r *Runtime, _ job.AttemptID) error { return r.Fence(t.Context()) })
	})
}

func outputThatStaysOpen(t *testing.T, phase runtime.Phase, end func(*Runtime, job.AttemptID) error) {
	t.Helper()
	options := testOptions(t)
	r := openTest(t, options)
	a := attemptOf(newID(), `echo "$$$$" >"$GCO_CHECKPOINT/pid"; `+holding)
	apply(t, r, a)
	pidFile := filepath.Join(options.CheckpointDir, string(a.ID.Job), "pid")
	eventually(t, "the script", func() bool { return starts(t, options, a.ID) == 1 })
	pid, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	output, err := os.OpenFile("/proc/"+strings.TrimSpace(string(pid))+"/fd/1", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	if err := end(r, a.ID); err != nil {
		t.Fatal(err)
	}
	awaitPhase(t, r, a.ID, phase)
}

func TestLogLimits(t *testing.T) {
	for _, test := range []struct {
		name   string
		limit  int64
		script string
		check  func(t *testing.T, text string)
	}{
		{"limit", 1000, `i=0; while [ $i -lt 200 ]; do echo "line $i"; i=$((i+1)); done`, func(t *testing.T, text string) {
			if !strings.HasPrefix(text, "line 0\n") || !strings.Contains(text, "the limit of 1000 bytes for this log was reached") || len(text) > 1200 {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}},
		{"long line", 1 << 20, `head -c 100000 /dev/zero | tr '\0' x; echo; echo after`, func(t *testing.T, text string) {
			if text != strings.Repeat("x", 100000)+"\nafter\n" {
				t.Errorf("%d bytes, ending in %q", len(text), text[max(0, len(text)-20):])
			}
		}},
		{"no line feed at the end", 1 << 20, `printf 'a\nb'`, func(t *testing.T, text string) {
			if text != "a\nb\n" {
				t.Errorf("%q", text)
			}
		}},
		{"any bytes", 1 << 20, `printf '\000\377\r\n\n'`, func(t *testing.T, text string) {
			if text != "\x00\xff\r\n\n" {
				t.Errorf("%q", text)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			options := testOptions(t)
			options.LogLimit = test.limit
			r := openTest(t, options)
			o, text := run(t, r, attemptOf(newID(), test.script))
			if o.Phase != runtime.PhaseSucceeded {
				t.Errorf("%+v", o)
			}
			test.check(t, text)
		})
	}
}

// A full disk loses output, and nothing else.
func TestLogDiskFull(t *testing.T) {
	options := testOptions(t)
	r := openTest(t, options)
	a := jobWith(func(_ *batchv1.JobSpec, p *corev1.PodSpec) {
		// The init container puts a full device where the log is to be.
		p.InitContainers = []corev1.Container{shell("init", `d=$(dirname "$(dirname "$HOME")"); ln -s /dev/full "$d/logs/$(basename "$HOME")_main"`)}
		p.Containers = []corev1.Container{shell("main", "i=0; while [ $i -lt 100 ]; do echo lost; i=$((i+1)); done; exit 0")}
	})
	apply(t, r, a)
	if o := awaitEnd(t, r, a.ID); o.Phase != runtime.PhaseSucceeded {
		t.Errorf("%+v", o)
	}
	if got := logsOf(t, r, a.ID, runtime.LogOptions{Container: "init"}); got != "" {
		t.Errorf("logs %q", got)
	}
}
