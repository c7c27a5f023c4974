package server

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsHTML string

// pages are the documents that are written once.
type pages struct {
	openAPI []byte
	docs    []byte
}

// writePages writes what is made from the table of routes.
func (s *Server) writePages() error {
	text, err := json.MarshalIndent(s.doc, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	page, err := template.New("docs").Funcs(template.FuncMap{
		"typeOf": typeOf, "statuses": statuses, "fields": fields, "join": strings.Join,
	}).Parse(docsHTML)
	if err != nil {
		return fmt.Errorf("reading the documentation page: %w", err)
	}
	var docs bytes.Buffer
	if err := page.Execute(&docs, s.docsContent()); err != nil {
		return fmt.Errorf("writing the documentation page: %w", err)
	}
	s.pages = pages{openAPI: text, docs: docs.Bytes()}
	return nil
}

func (c *call) openAPI() error { return c.page("application/json", c.pages.openAPI) }

// docs serves the page with a policy under which it can load nothing.
func (c *call) docs() error {
	c.w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	return c.page("text/html; charset=utf-8", c.pages.docs)
}

func (c *call) page(contentType string, text []byte) error {
	header := c.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(text)))
	header.Set("Cache-Control", "no-cache")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write(text)
	return nil
}

// docsContent is what the page's template reads.
type docsContent struct {
	Info     *huma.Info
	Groups   []docsGroup
	Schemas  []docsSchema
	Problems []docsProblem
}

type docsGroup struct {
	Tag        *huma.Tag
	Operations []docsOperation
}

type docsOperation struct {
	*huma.Operation
	Roles []string
}

type docsSchema struct {
	Name string
	*huma.Schema
}

type docsProblem struct {
	Type, Title string
	Status      int
}

func (s *Server) docsContent() docsContent {
	content := docsContent{Info: s.doc.Info}
	for _, tag := range tags {
		group := docsGroup{Tag: tag}
		for _, r := range s.routes {
			if r.tag != tag.Name {
				continue
			}
			item := s.doc.Paths[r.path]
			op := map[string]*huma.Operation{get: item.Get, post: item.Post, put: item.Put, patch: item.Patch, remove: item.Delete}[r.method]
			roles := make([]string, len(r.roles))
			for i, role := range r.roles {
				roles[i] = string(role)
			}
			group.Operations = append(group.Operations, docsOperation{op, roles})
		}
		content.Groups = append(content.Groups, group)
	}
	schemas := s.doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		content.Schemas = append(content.Schemas, docsSchema{name, schemas[name]})
	}
	for kind, k := range problemKinds {
		content.Problems = append(content.Problems, docsProblem{kind, k.title, k.status})
	}
	slices.SortFunc(content.Problems, func(a, b docsProblem) int {
		return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Type, b.Type))
	})
	return content
}

// docsType is a schema in a few words, before the name of another schema, if
// it has one.
type docsType struct{ Text, Ref string }

func typeOf(schema *huma.Schema) docsType {
	switch {
	case schema == nil:
		return docsType{Text: "any"}
	case schema.Ref != "":
		return docsType{Ref: schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:]}
	case schema.Type == huma.TypeArray:
		return typeOf(schema.Items).after("list of")
	case schema.Type == huma.TypeObject:
		if values, ok := schema.AdditionalProperties.(*huma.Schema); ok {
			return typeOf(values).after("map to")
		}
		return docsType{Text: "object"}
	case len(schema.Enum) > 0:
		words := make([]string, len(schema.Enum))
		for i, word := range schema.Enum {
			words[i] = fmt.Sprint(word)
		}
		return docsType{Text: strings.Join(words, " | ")}
	case schema.Format == "date-time":
		return docsType{Text: "time"}
	default:
		return docsType{Text: cmp.Or(schema.Type, "any")}
	}
}

func (t docsType) after(words string) docsType {
	t.Text = strings.TrimSpace(words + " " + t.Text)
	return t
}

type docsStatus struct {
	Status string
	*huma.Response
}

func statuses(responses map[string]*huma.Response) []docsStatus {
	var list []docsStatus
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		list = append(list, docsStatus{status, responses[status]})
	}
	return list
}

type docsField struct {
	Name     string
	Schema   *huma.Schema
	Required bool
}

func fields(schema *huma.Schema) []docsField {
	var list []docsField
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		list = append(list, docsField{name, schema.Properties[name], slices.Contains(schema.Required, name)})
	}
	return list
}
