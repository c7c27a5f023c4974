package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// starts measures (g): how soon gco up is ready, what it costs when nothing
// happens, and how long a build takes that finds nothing done.
func (b *bench) starts(ctx context.Context) error {
	dir, remove, err := b.fresh("up")
	if err != nil {
		return err
	}
	defer remove()
	up, err := b.startUp(ctx, dir)
	if err != nil {
		return err
	}
	idle, err := b.idle(ctx, up)
	now, _, memoryErr := up.megabytes()
	if err := errors.Join(err, memoryErr, up.stop()); err != nil {
		return err
	}
	b.report.add(up.ready.Seconds(), "s", "gco up from its start to /readyz, on a new folder")
	b.report.add(idle, "%", "of one core, gco up with three regions and nothing to do")
	b.report.add(now, "MB", "resident memory of the same")
	seconds, err := b.coldBuild(ctx)
	if err != nil {
		return err
	}
	b.report.add(seconds, "s", "building gco from empty caches (modules from the local download cache)")
	b.report.atMost(up.ready.Seconds(), 2, "seconds to /readyz", "")
	b.report.atMost(idle, 1, "percent of a core when idle", "")
	b.report.atMost(now, 80, "MB when idle", "")
	b.report.atMost(seconds, 180, "seconds for a build from empty caches", "")
	return nil
}

// idle is the share of a core, in percent, after things have settled.
func (b *bench) idle(ctx context.Context, p *process) (float64, error) {
	if err := pause(ctx, 5*time.Second); err != nil {
		return 0, err
	}
	before, err := p.cpu()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := pause(ctx, b.sizes.pace); err != nil {
		return 0, err
	}
	after, err := p.cpu()
	return 100 * (after - before).Seconds() / time.Since(start).Seconds(), err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// coldBuild builds with empty caches of packages and of modules. The modules
// come from the download cache of this machine, so that the network is not
// measured.
func (b *bench) coldBuild(ctx context.Context) (float64, error) {
	dir, remove, err := b.fresh("cold")
	if err != nil {
		return 0, err
	}
	defer remove()
	modules, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return 0, fmt.Errorf("finding the module cache: %w", err)
	}
	downloads := filepath.Join(strings.TrimSpace(string(modules)), "cache", "download")
	build := exec.CommandContext(ctx, "go", "build", "-modcacherw", "-o", filepath.Join(dir, "gco"), "./cmd/gco")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOCACHE="+filepath.Join(dir, "packages"), "GOMODCACHE="+filepath.Join(dir, "modules"),
		"GOPROXY=file://"+downloads, "GONOSUMDB=*", "GOFLAGS=")
	start := time.Now()
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building from empty caches: %w: %s", err, out)
	}
	return time.Since(start).Seconds(), nil
}
