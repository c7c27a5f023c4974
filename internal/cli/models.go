package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/remote"
)

func newModels(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "models",
		Aliases: []string{"model"},
		Short:   "Keep weights by name and version, and bring them to regions",
		Long: `Models are directories of files, kept by name and version in the model registry.
NAME is the newest version, NAME@3 a version, and NAME@prod what the tag prod
names. Versions never change.`,
		Example: "  gco models push llama ./llama-3.1-8b\n  gco models tag llama@1 prod\n  gco submit job.yaml --model llama@prod",
	}
	cmd.AddCommand(
		newModelsPush(p, runModelsPush),
		newModelsPull(p, runModelsPull),
		newModelsList(p, runModelsList),
		newModelsGet(p, runModelsGet),
		newModelsTag(p, runModelsTag),
		newModelsVerify(p, runModelsVerify),
		newModelsDelete(p, runModelsDelete),
		newModelsCollect(p, runModelsCollect),
	)
	return cmd
}

// modelRef reads an argument NAME, NAME@VERSION or NAME@TAG.
func modelRef(cmd *cobra.Command, text string) (model.Ref, error) {
	ref, err := model.ParseRef(text)
	if err != nil {
		return ref, usagef(cmd, "%w", err)
	}
	return ref, nil
}

// refOf is how people name a version exactly.
func refOf(v api.ModelVersion) string { return model.Ref{Name: v.Name, Version: v.Version}.String() }

// registry is the model registry of the server.
func (p *Program) registry() (remote.Registry, error) {
	c, err := p.connect()
	return remote.Registry{Client: c}, err
}

func modelView(p *Program) view[api.Model] {
	newest := func(m api.Model) api.ModelVersion {
		if len(m.Versions) == 0 {
			return api.ModelVersion{}
		}
		return m.Versions[0]
	}
	return view[api.Model]{
		name: func(m api.Model) string { return m.Name },
		columns: []column[api.Model]{
			{header: "NAME", cell: func(m api.Model) string { return m.Name }},
			{header: "NEWEST", cell: func(m api.Model) string { return strconv.FormatInt(newest(m).Version, 10) }},
			{
				header: "SIZE",
				cell:   func(m api.Model) string { return strconv.FormatInt(newest(m).Bytes, 10) },
				shown:  func(m api.Model) string { return bytesOf(newest(m).Bytes) },
			},
			{header: "FILES", cell: func(m api.Model) string { return strconv.Itoa(newest(m).Files) }},
			{
				header: "CREATED",
				cell:   func(m api.Model) string { v := newest(m); return stamp(&v.CreatedAt) },
				shown:  func(m api.Model) string { return age(p.Clock, newest(m).CreatedAt) + " ago" },
			},
			{header: "TAGS", cell: tagsOf, shown: func(m api.Model) string { return dash(tagsOf(m)) }, wide: true},
		},
	}
}

// tagsOf lists tags with the versions that they name.
func tagsOf(m api.Model) string {
	var texts []string
	for _, tag := range slices.Sorted(maps.Keys(m.Tags)) {
		texts = append(texts, fmt.Sprintf("%s=%d", tag, m.Tags[tag]))
	}
	return strings.Join(texts, ",")
}

// modelRefs completes references to models: names, and behind an @ versions
// and tags.
func (p *Program) modelRefs() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Models(ctx)
		var refs []string
		for _, m := range list.Items {
			refs = append(refs, cobra.CompletionWithDesc(m.Name, "newest is "+strconv.FormatInt(m.Versions[0].Version, 10)))
			for _, tag := range slices.Sorted(maps.Keys(m.Tags)) {
				refs = append(refs, cobra.CompletionWithDesc(m.Name+"@"+tag, "version "+strconv.FormatInt(m.Tags[tag], 10)))
			}
		}
		return refs, err
	})
}

var errDamaged = errors.New("the model is not what it was")
