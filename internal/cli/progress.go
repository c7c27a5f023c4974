package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
)

// redrawEvery is how often the progress line is drawn anew, so that its times
// grow.
const redrawEvery = 500 * time.Millisecond

// progress shows what jobs are doing while a command waits for them: on a
// terminal one line that changes, elsewhere a line for each step. It writes to
// Err, so that Out is for logs and results.
type progress struct {
	p     *Program
	many  bool
	began time.Time

	mu    sync.Mutex
	order []string
	last  map[string]api.Transition
	// shown says that the progress line stands on the terminal now.
	shown bool
}

func newProgress(p *Program, jobs []api.Job) *progress {
	g := &progress{p: p, many: len(jobs) > 1, began: p.Clock.Now(), last: map[string]api.Transition{}}
	for _, j := range jobs {
		g.order = append(g.order, j.ID)
		g.last[j.ID] = api.Transition{To: j.State, Region: j.Region, Attempt: j.Attempt}
	}
	return g
}

// run redraws the line until ctx ends.
func (g *progress) run(ctx context.Context) {
	if !g.p.ErrTerminal {
		<-ctx.Done()
		return
	}
	ticker := g.p.Clock.NewTicker(redrawEvery)
	defer ticker.Stop()
	for {
		g.locked(g.draw)
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return
		}
	}
}

// saw takes in a step of a job.
func (g *progress) saw(j api.Job, step api.Transition) {
	g.locked(func() {
		g.last[j.ID] = step
		if !g.p.ErrTerminal || worthALine(step) {
			g.line(g.prefix(j) + stepLine(step))
		}
		g.draw()
	})
}

// note writes a line about a job.
func (g *progress) note(j api.Job, text string) {
	g.locked(func() { g.line(g.prefix(j) + text) })
}

// say writes a line about all of them.
func (g *progress) say(text string) { g.locked(func() { g.line(text) }) }

// finish takes the line away.
func (g *progress) finish() { g.locked(g.erase) }

// logs returns the writer for what a job writes: whole lines, and none of them
// into the progress line.
func (g *progress) logs(j api.Job) *logWriter {
	w := &logWriter{progress: g}
	if g.many {
		w.prefix = "[" + j.Name + "] "
	}
	return w
}

func (g *progress) locked(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
}

func (g *progress) prefix(j api.Job) string {
	if g.many {
		return j.Name + ": "
	}
	return ""
}

func (g *progress) line(text string) {
	g.erase()
	fmt.Fprintln(g.p.Err, plain(text))
}

func (g *progress) erase() {
	if g.shown {
		fmt.Fprint(g.p.Err, "\r\x1b[K")
		g.shown = false
	}
}

func (g *progress) draw() {
	if !g.p.ErrTerminal {
		return
	}
	text := g.summary()
	if limit := g.p.Width - 1; utf8.RuneCountInString(text) > limit {
		text = cut(text, limit)
	}
	fmt.Fprint(g.p.Err, "\r\x1b[K"+text)
	g.shown = true
}

// summary is the progress line.
func (g *progress) summary() string {
	elapsed := span(g.p.Clock.Since(g.began))
	if !g.many {
		step := g.last[g.order[0]]
		return elapsed + "  " + stepLine(step)
	}
	counts := map[string]int{}
	for _, step := range g.last {
		counts[step.To]++
	}
	var parts []string
	for _, state := range job.States {
		if n := counts[string(state)]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return fmt.Sprintf("%s  %d jobs: %s", elapsed, len(g.order), strings.Join(parts, ", "))
}

// worthALine tells whether a step is kept on a terminal, where the line tells
// the rest.
func worthALine(step api.Transition) bool {
	if job.State(step.To).Terminal() {
		return true
	}
	switch job.EventKind(step.Event) {
	case job.Failure, job.Released, job.LostEvent, job.RegionLost, job.RegionReturned, job.MoveAsked:
		return true
	}
	return false
}

// stepLine says in words where a job is.
func stepLine(step api.Transition) string {
	text := step.To
	if step.Region != "" {
		switch step.To {
		case string(job.Queued):
			text += " again after " + step.Region
		case string(job.Placed):
			text += " to " + step.Region
		default:
			text += " in " + step.Region
		}
	}
	if step.Attempt > 1 {
		text += fmt.Sprintf(" (attempt %d)", step.Attempt)
	}
	if why := whyOf(step); why != "" {
		text += ": " + why
	}
	return text
}

// logWriter writes whole lines of one job's logs to Out.
type logWriter struct {
	progress *progress
	prefix   string
	partial  []byte
	// wrote says that something was written since it was last set to false.
	wrote bool
}

func (w *logWriter) Write(text []byte) (int, error) {
	w.wrote = w.wrote || len(text) > 0
	w.partial = append(w.partial, text...)
	end := bytes.LastIndexByte(w.partial, '\n')
	if end < 0 {
		return len(text), nil
	}
	var b bytes.Buffer
	for line := range bytes.Lines(w.partial[:end+1]) {
		b.WriteString(w.prefix)
		b.Write(line)
	}
	w.partial = append([]byte(nil), w.partial[end+1:]...)
	var err error
	w.progress.locked(func() {
		w.progress.erase()
		_, err = w.progress.p.Out.Write(b.Bytes())
	})
	return len(text), err
}

// flush ends a last line that the job did not end.
func (w *logWriter) flush() {
	if len(w.partial) > 0 {
		_, _ = w.Write([]byte("\n"))
	}
}
