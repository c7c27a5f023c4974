// Command bench measures GCO beside what it has to be compared with, in the
// same run and on the same disk: the rate of fsync, bare rows in the same
// database, and River on PostgreSQL. It prints tables, says of each promised
// figure whether it holds, and can write everything as JSON. docs/benchmarks.md
// explains the parts and has the figures of one machine.
//
//	go run ./bench                  everything, about 20 minutes
//	go run ./bench -only a,c        the durable submit and the latency
//	go run ./bench -quick           a short look, with fewer jobs waiting
//	go run ./bench -doc docs/benchmarks.md    everything, kept in the document
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gco-project/gco/internal/daemon"
)

// part is one group of measurements.
type part struct {
	key   string
	title string
	run   func(*bench, context.Context) error
	// limit ends a part that hangs.
	limit time.Duration
}

// parts run in this order.
var parts = []part{
	{"a", "Durable submit", (*bench).submits, 8 * time.Minute},
	{"b", "Claim, heartbeat and finish, with jobs waiting", (*bench).cycles, 10 * time.Minute},
	{"c", "Submit to process start, through gco up", (*bench).latency, 2 * time.Minute},
	{"d", "List the newest 50 of a namespace", (*bench).lists, 3 * time.Minute},
	{"e", "Memory of the server with jobs waiting", (*bench).memory, 3 * time.Minute},
	{"f", "Placement", (*bench).placements, 6 * time.Minute},
	{"g", "Start, idle and build", (*bench).starts, 6 * time.Minute},
	{"h", "The event stream, with many clients", (*bench).streams, 3 * time.Minute},
	{"i", "Backups", (*bench).backups, 8 * time.Minute},
	{"j", "Webhooks", (*bench).deliveries, 5 * time.Minute},
	{"k", "The front door", (*bench).frontDoors, 4 * time.Minute},
	{"l", "Endpoints over regions", (*bench).endpoints, 3 * time.Minute},
	{"m", "The routing of requests to endpoints", (*bench).routing, 4 * time.Minute},
	{"p", "Models", (*bench).models, 15 * time.Minute},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run returns 0 if everything that was measured holds, 1 if some promise does
// not or a part failed, 2 for a wrong call.
func run(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	only := flags.String("only", "", "parts to run, such as a,c (default: all)")
	quick := flags.Bool("quick", false, "short rounds and fewer waiting jobs; no figure to quote")
	dir := flags.String("dir", os.TempDir(), "folder on the disk to measure; everything in it is temporary")
	model := flags.Float64("model", 0, "size of the model of part p in GB (default 10, or 0.4 with -quick); it takes 3.3 times as much of the disk")
	profile := flags.String("profile", "", "file that receives a processor profile of this process")
	output := flags.String("json", "", "file that receives all figures as JSON")
	doc := flags.String("doc", "", "Markdown file that receives the figures of a run of all parts, between its marks")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: %q is not understood; parts are named by -only\n", flags.Arg(0))
		return 2
	}
	selected, err := selectParts(*only)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 2
	}
	b, err := newBench(*dir, *quick)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	if *model > 0 {
		b.sizes.model = int64(*model * 1e9)
	}
	daemon.TuneGC() // The store runs in this process, too.
	stop, err := startProfile(*profile)
	if err == nil {
		err = b.runAll(ctx, selected)
		stop()
		b.report.Machine.LoadAfter = load1()
	}
	if err == nil {
		err = b.report.document(*doc, len(selected) == len(parts) && !*quick)
	}
	err = errors.Join(err, b.report.write(*output), b.close())
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if !b.report.summary() || err != nil {
		return 1
	}
	return 0
}

// startProfile profiles this process, and so what it does without a server.
func startProfile(path string) (stop func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}

func selectParts(only string) ([]part, error) {
	if only == "" {
		return parts, nil
	}
	var selected []part
	keys := strings.Split(only, ",")
	for _, p := range parts {
		if slices.Contains(keys, p.key) {
			selected = append(selected, p)
			keys = slices.DeleteFunc(keys, func(k string) bool { return k == p.key })
		}
	}
	if len(keys) > 0 {
		return nil, fmt.Errorf("no part is called %s; there are a to %s", strings.Join(keys, ", "), parts[len(parts)-1].key)
	}
	return selected, nil
}

// bench is one run.
type bench struct {
	dir    string
	report *report
	sizes  sizes

	gco     string         // the binary, once it is built
	loaded  map[int]string // databases with so many jobs waiting
	sources *templates
}

// sizes are how long and how much.
type sizes struct {
	round  time.Duration
	rounds int
	depths []int
	// cycled is how many jobs a depth is measured with, in so many turns.
	cycled, turns int
	// pace is the length of what is measured at a fixed rate.
	pace time.Duration
	// model is the size of a model, in bytes.
	model int64
}

var (
	fullSizes  = sizes{round: 2 * time.Second, rounds: 3, depths: []int{1_000, 100_000, 1_000_000}, cycled: 48_000, turns: 6, pace: 20 * time.Second, model: 10e9}
	quickSizes = sizes{round: time.Second, rounds: 1, depths: []int{1_000, 20_000}, cycled: 4_000, turns: 2, pace: 5 * time.Second, model: 400e6}
)

// deepest is the largest number of waiting jobs.
func (s sizes) deepest() int { return s.depths[len(s.depths)-1] }

func newBench(parent string, quick bool) (*bench, error) {
	dir, err := os.MkdirTemp(parent, "gco-bench-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	// PostgreSQL runs under another account where this is root.
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // only the name of what is inside lets anyone in
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := onDisk(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	sources, err := newTemplates()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b := &bench{dir: dir, report: newReport(os.Stdout), sizes: fullSizes, loaded: map[int]string{}, sources: sources}
	if quick {
		b.sizes = quickSizes
	}
	return b, nil
}

func (b *bench) close() error { return os.RemoveAll(b.dir) }

func (b *bench) runAll(ctx context.Context, selected []part) error {
	b.report.header(b.dir)
	var all error
	for _, p := range selected {
		if ctx.Err() != nil {
			return errors.Join(all, ctx.Err())
		}
		b.report.begin(p.key, p.title)
		limited, cancel := context.WithTimeout(ctx, p.limit)
		start := time.Now()
		if err := p.run(b, limited); err != nil {
			all = errors.Join(all, fmt.Errorf("part %s: %w", p.key, err))
		}
		cancel()
		b.report.note("part %s took %s", p.key, time.Since(start).Round(time.Second))
	}
	return all
}

// fresh is a new folder for one measurement, removed by its second result.
func (b *bench) fresh(name string) (string, func(), error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return "", nil, err
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// write stores the report as JSON; an empty path does nothing.
func (r *report) write(path string) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Clean(path), append(text, '\n'), 0o600)
}
