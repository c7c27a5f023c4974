package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/transfer"
)

type modelsPullOptions struct {
	*Program
	output format
	ref    model.Ref
	dir    string
}

func newModelsPull(p *Program, run func(context.Context, *modelsPullOptions) error) *cobra.Command {
	opts := &modelsPullOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "pull NAME[@VERSION|@TAG] DIR",
		Short: "Bring the files of a model to a new directory",
		Long: `Pull makes a directory with the files of one version, and holds every byte
against its SHA-256. Until all is there, it is in DIR.partial; a pull that was
interrupted is repeated as it was, and goes on where it stopped.`,
		Example:           "  gco models pull llama@prod ./llama\n  gco models pull llama@3 ./llama-3",
		Args:              exactly("NAME", "DIR"),
		ValidArgsFunction: once(p.modelRefs()),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if opts.ref, err = modelRef(cmd, args[0]); err != nil {
				return err
			}
			opts.dir = args[1]
			return run(cmd.Context(), opts)
		},
	}
	addOutput(cmd, &opts.output)
	return cmd
}

func runModelsPull(ctx context.Context, opts *modelsPullOptions) error {
	registry, err := opts.registry()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(opts.dir)
	if err != nil {
		return fmt.Errorf("pulling %s: %w", opts.ref, err)
	}
	// An empty directory is as good as none.
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already; name a directory that is not, or remove it first", opts.dir)
	}
	v, err := registry.Resolve(ctx, opts.ref)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", opts.ref, err)
	}
	m, err := registry.Manifest(ctx, v)
	if err != nil {
		return fmt.Errorf("reading the manifest of %s: %w", refOf(v), err)
	}
	began, progress := opts.Clock.Now(), &transfer.Progress{}
	stop := opts.showTransfer("Pulling", progress)
	err = transfer.Pull(ctx, transfer.PullOptions{Dir: dir, Partial: dir + ".partial", Manifest: m, Source: registry, Progress: progress})
	stop()
	if err != nil {
		return fmt.Errorf("pulling %s: %w", refOf(v), err)
	}
	opts.transferred(refOf(v), progress, began)
	return printOne(opts.Program, opts.output, v, refOf(v), func() error { _, err := fmt.Fprintln(opts.Out, opts.dir); return err })
}
