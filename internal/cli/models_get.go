package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/model"
)

type modelsGetOptions struct {
	*Program
	output format
	ref    model.Ref
	all    bool
	files  bool
}

func newModelsGet(p *Program, run func(context.Context, *modelsGetOptions) error) *cobra.Command {
	opts := &modelsGetOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "get NAME[@VERSION|@TAG]",
		Short: "Show a model, a version of it, or its files",
		Long: `Get shows a model with all its versions, its tags, and the regions that have
them; behind an @, one version; and with --files what that holds.`,
		Example:           "  gco models get llama\n  gco models get llama@prod --files",
		Args:              one("NAME"),
		ValidArgsFunction: once(p.modelRefs()),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			opts.ref, err = modelRef(cmd, args[0])
			opts.all = !strings.Contains(args[0], "@") && !opts.files
			if err != nil {
				return err
			}
			return run(cmd.Context(), opts)
		},
	}
	cmd.Flags().BoolVar(&opts.files, "files", false, "list the files of the version")
	addOutput(cmd, &opts.output)
	return cmd
}

func runModelsGet(ctx context.Context, opts *modelsGetOptions) error {
	registry, err := opts.registry()
	if err != nil {
		return err
	}
	if opts.all {
		m, err := registry.Client.Model(ctx, opts.ref.Name)
		if err != nil {
			return fmt.Errorf("reading model %s: %w", opts.ref.Name, err)
		}
		return printOne(opts.Program, opts.output, m, m.Name, func() error { return opts.modelPage(m) })
	}
	v, err := registry.Resolve(ctx, opts.ref)
	if err != nil {
		return fmt.Errorf("reading %s: %w", opts.ref, err)
	}
	if !opts.files {
		return printOne(opts.Program, opts.output, v, refOf(v), func() error { return opts.versionPage(v) })
	}
	m, err := registry.Manifest(ctx, v)
	if err != nil {
		return fmt.Errorf("reading the manifest of %s: %w", refOf(v), err)
	}
	return printList(opts.Program, opts.output, fileView, m.Files, m)
}

var fileView = view[api.ModelFile]{
	name: func(f api.ModelFile) string { return f.Path },
	columns: []column[api.ModelFile]{
		{header: "PATH", cell: func(f api.ModelFile) string { return f.Path }, wide: true},
		{
			header: "SIZE",
			cell:   func(f api.ModelFile) string { return strconv.FormatInt(f.Size, 10) },
			shown:  func(f api.ModelFile) string { return bytesOf(f.Size) },
		},
		{header: "CHUNKS", cell: func(f api.ModelFile) string { return strconv.Itoa(len(f.Chunks)) }},
		{header: "SHA-256", cell: func(f api.ModelFile) string { return f.SHA256 }},
	},
}

// modelPage is a model for a person: a row for each version.
func (p *Program) modelPage(m api.Model) error {
	tags := map[int64][]string{}
	for tag, version := range m.Tags {
		tags[version] = append(tags[version], tag)
	}
	t := table{rows: [][]string{{"VERSION", "SIZE", "FILES", "CREATED", "BY", "TAGS", "REGIONS"}}, wide: 7}
	for _, v := range m.Versions {
		t.rows = append(t.rows, []string{
			strconv.FormatInt(v.Version, 10), bytesOf(v.Bytes), strconv.Itoa(v.Files), stamp(&v.CreatedAt), v.CreatedBy,
			dash(sortedList(tags[v.Version])), dash(strings.Join(v.Regions, ",")),
		})
	}
	return p.table(t)
}

func (p *Program) versionPage(v api.ModelVersion) error {
	return p.fields([]field{
		{"Model", refOf(v)},
		{"Size", fmt.Sprintf("%s in %d file(s), %d chunk(s)", bytesOf(v.Bytes), v.Files, v.Chunks)},
		{"Created", stamp(&v.CreatedAt) + " by " + v.CreatedBy},
		{"Digest", v.Digest},
		{"Regions", dash(strings.Join(v.Regions, ", "))},
	})
}
