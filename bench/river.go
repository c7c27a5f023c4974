package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// river is what bench/river prints.
type river struct {
	Postgres string `json:"postgres"`
	Inserts  []struct {
		Submitters int     `json:"submitters"`
		Batch      int     `json:"batch"`
		PerSecond  float64 `json:"perSecond"`
	} `json:"inserts"`
	Works []struct {
		Waiting   int     `json:"waiting"`
		Workers   int     `json:"workers"`
		PerSecond float64 `json:"perSecond"`
	} `json:"works"`
}

// river runs the nested module: flag is -insert or -work, with its numbers.
func (b *bench) river(ctx context.Context, flag string, numbers []int) (river, error) {
	binary := b.dir + "/river"
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = "bench/river"
	if out, err := build.CombinedOutput(); err != nil {
		return river{}, fmt.Errorf("building bench/river: %w: %s", err, out)
	}
	list := make([]string, len(numbers))
	for i, n := range numbers {
		list[i] = strconv.Itoa(n)
	}
	command := exec.CommandContext(ctx, binary, "-dir", b.dir, flag, strings.Join(list, ","),
		"-payload", strconv.Itoa(b.sources.bytes()), "-round", b.sizes.round.String(), "-rounds", strconv.Itoa(b.sizes.rounds))
	// It stops PostgreSQL before it ends, so it is asked first.
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 30 * time.Second
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		return river{}, fmt.Errorf("running bench/river: %w", err)
	}
	var result river
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&result); err != nil {
		return river{}, fmt.Errorf("reading what bench/river says: %w", err)
	}
	return result, nil
}
