package sim

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"testing"

	"github.com/gco-project/gco/internal/store/sqlite"
)

var (
	schedules = flag.Int("schedules", 25, "how many schedules to run")
	seed      = flag.Uint64("seed", 0, "run only the schedule of this seed, and show its steps with -v")
)

func TestSchedules(t *testing.T) {
	first, last := uint64(1), uint64(*schedules)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	if *seed != 0 {
		first, last = *seed, *seed
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for n := first; n <= last; n++ {
		backing, err := sqlite.OpenMemory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := Run(t.Context(), n, backing, log); err != nil {
			t.Fatal(err)
		}
		if err := backing.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d schedules kept every promise", last-first+1)
}
