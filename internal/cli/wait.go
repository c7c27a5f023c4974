package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
)

// lastLogs is how long a finished attempt's logs may still take to arrive.
const lastLogs = 10 * time.Second

// awaiting says what to show while waiting.
type awaiting struct {
	output format
	logs   bool
}

// await shows the progress of jobs until all have finished, and prints them.
// The error is *jobsFailedError if one did not succeed.
func (p *Program) await(ctx context.Context, c *client.Client, jobs []api.Job, what awaiting) error {
	progress := newProgress(p, jobs)
	ended := make([]api.Job, len(jobs))
	away := &outage{addr: c.Addr(), say: progress.say}
	group, groupCtx := errgroup.WithContext(ctx)
	for i, j := range jobs {
		w := &waiter{Program: p, client: c, job: j, progress: progress, away: away, logs: what.logs}
		if what.logs {
			w.out = progress.logs(j)
		}
		group.Go(func() (err error) {
			ended[i], err = w.run(groupCtx)
			return err
		})
	}
	redraw, stop := context.WithCancel(ctx)
	drawn := make(chan struct{})
	go func() {
		defer close(drawn)
		progress.run(redraw)
	}()
	err := group.Wait()
	stop()
	<-drawn
	progress.finish()
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	if what.output != "" || !what.logs {
		if err := printList(p, what.output, jobView(p), ended, api.JobList{Items: ended}); err != nil {
			return err
		}
	}
	return didAllSucceed(ended)
}

func didAllSucceed(jobs []api.Job) error {
	var failed jobsFailedError
	for _, j := range jobs {
		if j.State == string(job.Succeeded) {
			continue
		}
		text := fmt.Sprintf("job %s (%s) was %s", j.Name, j.ID, j.State)
		if j.State == string(job.Failed) {
			text = fmt.Sprintf("job %s (%s) failed", j.Name, j.ID)
		}
		if why := reasonOf(j); why != "" {
			text += ": " + why
		}
		failed.ended = append(failed.ended, text)
	}
	if len(failed.ended) > 0 {
		return &failed
	}
	return nil
}

// waiter follows one job to its end.
type waiter struct {
	*Program
	client   *client.Client
	job      api.Job
	progress *progress
	away     *outage
	logs     bool
	out      *logWriter

	// copied is the attempt whose logs are being copied, or were.
	copied   int
	copying  chan struct{}
	stopCopy context.CancelFunc
}

// run reads the job's events from its beginning until one is its last, and
// returns the final record.
func (w *waiter) run(ctx context.Context) (api.Job, error) {
	if job.State(w.job.State).Terminal() && !w.logs {
		return w.client.Job(ctx, w.job.ID)
	}
	events, err := w.away.open(ctx, w.client, client.EventFilter{Job: w.job.ID, Oldest: true})
	if err != nil {
		return api.Job{}, fmt.Errorf("following job %s: %w", w.job.ID, err)
	}
	defer events.Close()
	for {
		event, err := events.Next()
		if err != nil {
			return api.Job{}, fmt.Errorf("following job %s: %w", w.job.ID, err)
		}
		step, err := transitionOf(event)
		if err != nil {
			return api.Job{}, err
		}
		w.showLogs(ctx, step)
		w.progress.saw(w.job, step)
		if !job.State(step.To).Terminal() {
			continue
		}
		j, err := w.client.Job(ctx, w.job.ID)
		if err != nil {
			return api.Job{}, fmt.Errorf("looking at job %s: %w", w.job.ID, err)
		}
		return j, nil
	}
}

// showLogs copies the logs of an attempt from its start to its end, so that
// what the job wrote stands before what became of it.
func (w *waiter) showLogs(ctx context.Context, step api.Transition) {
	if !w.logs || step.Attempt == 0 {
		return
	}
	switch job.EventKind(step.Event) {
	case job.Started:
		w.startCopy(ctx, step.Attempt)
	case job.Finished, job.Failure, job.Stopped:
		w.startCopy(ctx, step.Attempt)
		w.endCopy(ctx, lastLogs)
	case job.LostEvent, job.Released, job.Claim:
		w.endCopy(ctx, 0)
	}
}

// startCopy copies the logs of an attempt beside the events, once.
func (w *waiter) startCopy(ctx context.Context, attempt int) {
	if attempt == w.copied {
		return
	}
	w.endCopy(ctx, 0)
	w.copied, w.out.wrote = attempt, false
	copyCtx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	w.stopCopy, w.copying = cancel, done
	go func() {
		defer close(done)
		if err := w.copy(copyCtx, attempt); err != nil && copyCtx.Err() == nil {
			what := "the logs"
			if w.out.wrote {
				what = "the rest of the logs"
			}
			w.progress.note(w.job, fmt.Sprintf("%s of attempt %d can't be shown: %v", what, attempt, err))
		}
	}()
}

func (w *waiter) copy(ctx context.Context, attempt int) error {
	logs, err := w.client.Logs(ctx, w.job.ID, client.LogOptions{Attempt: attempt, Follow: true})
	if err != nil {
		if client.Status(err) == http.StatusNotFound {
			return errors.New("there are none")
		}
		return err
	}
	defer logs.Close()
	defer w.out.flush()
	_, err = io.Copy(w.out, logs)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("they were cut off")
	}
	return err
}

// endCopy ends the copying, and gives it a moment to end by itself.
func (w *waiter) endCopy(ctx context.Context, moment time.Duration) {
	if w.copying == nil {
		return
	}
	timer := w.Clock.NewTimer(moment)
	defer timer.Stop()
	select {
	case <-w.copying:
	case <-timer.C():
	case <-ctx.Done():
	}
	w.stopCopy()
	<-w.copying
	w.copying = nil
}
