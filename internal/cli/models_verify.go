package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/transfer"
)

type modelsVerifyOptions struct {
	*Program
	output format
	ref    model.Ref
	dir    string
}

func newModelsVerify(p *Program, run func(context.Context, *modelsVerifyOptions) error) *cobra.Command {
	opts := &modelsVerifyOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "verify NAME[@VERSION|@TAG]",
		Short: "Read every byte of a version, and hold it against its SHA-256",
		Long: `Verify has the server read every byte of a version in the registry. Chunks that
are damaged are removed, and the next push of the same files brings them again.
With --dir it compares a directory of this machine with the version instead.`,
		Example:           "  gco models verify llama@prod\n  gco models verify llama@3 --dir ./llama-3",
		Args:              one("NAME"),
		ValidArgsFunction: once(p.modelRefs()),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if opts.ref, err = modelRef(cmd, args[0]); err != nil {
				return err
			}
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().StringVar(&opts.dir, "dir", "", "compare this `DIRECTORY` with the version")
	addOutput(cmd, &opts.output)
	return cmd
}

func runModelsVerify(ctx context.Context, opts *modelsVerifyOptions) error {
	registry, err := opts.registry()
	if err != nil {
		return err
	}
	v, err := registry.Resolve(ctx, opts.ref)
	if err != nil {
		return fmt.Errorf("looking for %s: %w", opts.ref, err)
	}
	if opts.dir != "" {
		m, err := registry.Manifest(ctx, v)
		if err != nil {
			return fmt.Errorf("reading the manifest of %s: %w", refOf(v), err)
		}
		return opts.compare(ctx, v, m)
	}
	found, err := registry.Client.VerifyModel(ctx, v.Name, model.Ref{Name: v.Name, Version: v.Version}.Which())
	if err != nil {
		return fmt.Errorf("verifying %s: %w", refOf(v), err)
	}
	if err := printOne(opts.Program, opts.output, found, refOf(v), func() error { return opts.damages(found) }); err != nil {
		return err
	}
	if n := len(found.Damages); n > 0 {
		return fmt.Errorf("%w: %d chunk(s) or file(s) of %s; push the same files again to mend it", errDamaged, n, refOf(v))
	}
	return nil
}

func (o *modelsVerifyOptions) damages(found api.ModelVerification) error {
	if len(found.Damages) == 0 {
		_, err := fmt.Fprintf(o.Out, "%s is whole: %s\n", refOf(found.Version), bytesOf(found.Version.Bytes))
		return err
	}
	t := table{rows: [][]string{{"FILE", "WHAT", "CHUNK"}}, wide: 1}
	for _, d := range found.Damages {
		what := transfer.Damaged
		if d.Missing {
			what = transfer.Missing
		}
		t.rows = append(t.rows, []string{dash(d.Path), what, dash(d.Chunk)})
	}
	return o.table(t)
}

// compare holds a directory against a version.
func (o *modelsVerifyOptions) compare(ctx context.Context, v api.ModelVersion, m model.Manifest) error {
	progress := &transfer.Progress{}
	stop := o.showTransfer("Comparing", progress)
	differences, err := transfer.Compare(ctx, o.dir, m, progress)
	stop()
	if err != nil {
		return fmt.Errorf("comparing %s with %s: %w", o.dir, refOf(v), err)
	}
	view := view[transfer.Difference]{
		name: func(d transfer.Difference) string { return d.Path },
		columns: []column[transfer.Difference]{
			{header: "FILE", cell: func(d transfer.Difference) string { return d.Path }, wide: true},
			{header: "WHAT", cell: func(d transfer.Difference) string { return d.Kind }},
		},
	}
	if len(differences) == 0 {
		return printOne(o.Program, o.output, v, refOf(v), func() error {
			_, err := fmt.Fprintf(o.Out, "%s is %s: %s\n", o.dir, refOf(v), bytesOf(v.Bytes))
			return err
		})
	}
	if err := printList(o.Program, o.output, view, differences, differences); err != nil {
		return err
	}
	return fmt.Errorf("%w: %d file(s) of %s differ from %s", errDamaged, len(differences), o.dir, refOf(v))
}
