package sim

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gco-project/gco/internal/store/sqlite"
)

var (
	schedules = flag.Int("schedules", 25, "how many schedules to run")
	seed      = flag.Uint64("seed", 0, "run only the schedule of this seed, and show its steps with -v")
)

// TestSeedsAreReplayable plays a schedule twice and compares every step.
func TestSeedsAreReplayable(t *testing.T) {
	for n := uint64(1); n <= 5; n++ {
		var steps [2]bytes.Buffer
		for i := range steps {
			play(t, n, slog.New(slog.NewTextHandler(&steps[i], &slog.HandlerOptions{
				Level: slog.LevelDebug,
				ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.TimeKey {
						return slog.Attr{}
					}
					return a
				},
			})))
		}
		if steps[0].String() != steps[1].String() {
			t.Errorf("seed %d gave two schedules of %d and %d bytes", n, steps[0].Len(), steps[1].Len())
		}
		if steps[0].Len() < 1000 {
			t.Errorf("seed %d gave hardly a schedule:\n%s", n, steps[0].String())
		}
	}
}

func play(t *testing.T, seed uint64, log *slog.Logger) {
	t.Helper()
	if err := schedule(t.Context(), seed, log); err != nil {
		t.Fatal(err)
	}
}

func schedule(ctx context.Context, seed uint64, log *slog.Logger) error {
	backing, err := sqlite.OpenMemory(ctx)
	if err != nil {
		return err
	}
	return errors.Join(Run(ctx, seed, backing, log), backing.Close())
}

func TestSchedules(t *testing.T) {
	if *seed != 0 {
		play(t, *seed, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
		return
	}
	var (
		next   atomic.Int64
		failed atomic.Bool
		done   sync.WaitGroup
		errs   = make([]error, *schedules)
	)
	for range runtime.GOMAXPROCS(0) {
		done.Go(func() {
			for !failed.Load() {
				n := next.Add(1)
				if n > int64(*schedules) {
					return
				}
				if errs[n-1] = schedule(t.Context(), uint64(n), slog.New(slog.DiscardHandler)); errs[n-1] != nil {
					failed.Store(true)
				}
			}
		})
	}
	done.Wait()
	// Seeds are taken in order, so all below the first failure were played.
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d schedules kept every promise", *schedules)
}
