package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// parameterFlags are the values for a template, from flags and a file.
type parameterFlags struct {
	pairs []string
	file  string
}

func (f *parameterFlags) register(flags *pflag.FlagSet) {
	flags.StringArrayVarP(&f.pairs, "param", "p", nil, "parameter of the template, `NAME=VALUE`; may be repeated, for a list once an item")
	flags.StringVar(&f.file, "parameters", "", "`FILE` with parameters as a mapping in YAML or JSON (- is standard input); --param stands above it")
}

// addVersion gives a command a flag for a version of a template.
func addVersion(cmd *cobra.Command, version *int64, flag string) {
	cmd.Flags().Int64Var(version, flag, 0, "`NUMBER` of the template's version (default the newest)")
}

// values reads the parameters as the template has their types. It judges
// nothing: what suits no type goes out as text, and the server tells all that
// is wrong at once.
func (f *parameterFlags) values(in io.Reader, of api.Template) (map[string]json.RawMessage, error) {
	values, err := f.fromFile(in)
	if err != nil {
		return nil, err
	}
	given := map[string][]string{}
	for _, pair := range f.pairs {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, &usageError{"gco", fmt.Errorf("--param %s: NAME=VALUE expected", pair)}
		}
		given[name] = append(given[name], value)
	}
	for name, texts := range given {
		i := slices.IndexFunc(of.Parameters, func(p api.Parameter) bool { return p.Name == name })
		var p api.Parameter
		if i >= 0 {
			p = of.Parameters[i]
		}
		if p.Type != "list" && len(texts) > 1 {
			return nil, &usageError{"gco", fmt.Errorf("--param %s is given %d times, and is no list", name, len(texts))}
		}
		values[name] = parameterOf(p, texts)
	}
	return values, nil
}

func (f *parameterFlags) fromFile(in io.Reader) (map[string]json.RawMessage, error) {
	values := map[string]json.RawMessage{}
	if f.file == "" {
		return values, nil
	}
	text, err := readFile(in, f.file)
	if err == nil {
		text, err = yamlToJSON(text)
	}
	if err == nil {
		err = json.Unmarshal(text, &values)
	}
	if _, wrong := errors.AsType[*json.UnmarshalTypeError](err); wrong {
		err = errors.New("a mapping of names to values expected")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the parameters in %s: %w", nameOf(f.file), err)
	}
	if values == nil {
		values = map[string]json.RawMessage{}
	}
	return values, nil
}

// parameterOf is the JSON of what was typed for a parameter: for a list, an item
// each time, or a whole list as JSON.
func parameterOf(p api.Parameter, texts []string) json.RawMessage {
	if p.Type != "list" {
		return scalarOf(p.Type, texts[0])
	}
	if whole := []byte(texts[0]); len(texts) == 1 && bytes.HasPrefix(whole, []byte("[")) && json.Valid(whole) {
		return whole
	}
	items := make([]json.RawMessage, len(texts))
	for i, text := range texts {
		items[i] = scalarOf(p.Items, text)
	}
	return asJSON(items)
}

// scalarOf is a number or a flag where that is wanted and typed, else text.
func scalarOf(kind, text string) json.RawMessage {
	switch kind {
	case "integer", "number", "boolean":
		if raw := []byte(text); json.Valid(raw) && !bytes.ContainsAny(raw, "\"[{") {
			return raw
		}
	}
	return asJSON(text)
}

func asJSON(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic("cli: a text that JSON cannot hold: " + err.Error())
	}
	return text
}

// templateNames completes names of templates.
func (p *Program) templateNames() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Templates(ctx, maxPage, "")
		var names []string
		for _, t := range list.Items {
			names = append(names, cobra.CompletionWithDesc(t.Name, t.Description))
		}
		return names, err
	})
}

// parameterNames completes NAME= for the template that the arguments name.
func (p *Program) parameterNames(template func(args []string) string) completer {
	complete := p.ask(func(ctx context.Context, c *client.Client, args []string) ([]string, error) {
		t, err := c.Template(ctx, template(args))
		var names []string
		for _, q := range t.Parameters {
			names = append(names, cobra.CompletionWithDesc(q.Name+"=", typeOf(q)))
		}
		return names, err
	})
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		names, directive := complete(cmd, args, typed)
		return names, directive | cobra.ShellCompDirectiveNoSpace
	}
}
