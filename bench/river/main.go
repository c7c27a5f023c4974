// Command river measures River on a PostgreSQL of its own, for the benchmarks
// in bench/ to compare with: inserts through River's Go client, and jobs worked
// with many waiting. It is a module of its own, so that neither River nor a
// PostgreSQL driver is a dependency of GCO. It starts a temporary cluster with
// fsync on, beside the databases that it is compared with, prints one JSON
// object and removes everything.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Result is everything that was measured.
type Result struct {
	Postgres string   `json:"postgres"`
	Inserts  []Insert `json:"inserts"`
	Works    []Work   `json:"works"`
}

// Insert is one way of inserting, in rows a second.
type Insert struct {
	Submitters int     `json:"submitters"`
	Batch      int     `json:"batch"`
	PerSecond  float64 `json:"perSecond"`
}

// Work is jobs fetched, run as nothing and completed, with others waiting.
type Work struct {
	Waiting   int     `json:"waiting"`
	Workers   int     `json:"workers"`
	PerSecond float64 `json:"perSecond"`
}

type options struct {
	dir     string
	inserts []int
	works   []int
	payload int
	round   time.Duration
	rounds  int
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", os.TempDir(), "folder for the temporary cluster, on the disk to measure")
	inserts := flag.String("insert", "", "numbers of submitters to insert with, such as 1,16,64,256")
	works := flag.String("work", "", "numbers of waiting jobs to work with, such as 1000,100000")
	flag.IntVar(&o.payload, "payload", 1000, "bytes of arguments in each job")
	flag.DurationVar(&o.round, "round", 3*time.Second, "length of each measurement")
	flag.IntVar(&o.rounds, "rounds", 1, "measurements of each figure, of which the median is printed")
	flag.Parse()
	var err error
	if o.inserts, err = numbers(*inserts); err == nil {
		o.works, err = numbers(*works)
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		err = run(ctx, o)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	server, err := startPostgres(ctx, o.dir)
	if err != nil {
		return err
	}
	defer server.stop()
	result := Result{Postgres: server.version}
	for _, submitters := range o.inserts {
		for _, batch := range []int{1, 100} {
			perSecond, err := measureInserts(ctx, server, o, submitters, batch)
			if err != nil {
				return fmt.Errorf("inserting with %d submitters: %w", submitters, err)
			}
			result.Inserts = append(result.Inserts, Insert{submitters, batch, perSecond})
		}
	}
	for _, waiting := range o.works {
		works, err := measureWork(ctx, server, o, waiting)
		if err != nil {
			return fmt.Errorf("working with %d waiting: %w", waiting, err)
		}
		result.Works = append(result.Works, works...)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func numbers(list string) ([]int, error) {
	var out []int
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is not a list of positive numbers", list)
		}
		out = append(out, n)
	}
	return out, nil
}
