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
		"type": typeText, "statuses": statuses, "fields": fields, "lower": strings.ToLower, "join": strings.Join,
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
			op := map[string]*huma.Operation{get: item.Get, post: item.Post, put: item.Put, remove: item.Delete}[r.method]
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

// typeText writes a schema in a few words, with a link to what it names.
func typeText(schema *huma.Schema) template.HTML {
	escape := template.HTMLEscapeString
	switch {
	case schema == nil:
		return "any"
	case schema.Ref != "":
		name := escape(schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:])
		return template.HTML(`<a href="#` + name + `">` + name + `</a>`)
	case schema.Type == huma.TypeArray:
		return "list of " + typeText(schema.Items)
	case schema.Type == huma.TypeObject:
		if values, ok := schema.AdditionalProperties.(*huma.Schema); ok {
			return "map to " + typeText(values)
		}
		return "object"
	case len(schema.Enum) > 0:
		words := make([]string, len(schema.Enum))
		for i, word := range schema.Enum {
			words[i] = escape(fmt.Sprint(word))
		}
		return template.HTML(strings.Join(words, " | "))
	case schema.Format == "date-time":
		return "time"
	case schema.Type == "":
		return "any"
	default:
		return template.HTML(escape(schema.Type))
	}
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
