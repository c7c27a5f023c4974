package server

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gco-project/gco/api"
)

// Limits of bodies, in bytes.
const (
	maxBody      = 1 << 20
	maxBatchBody = 16 << 20
	maxSyncBody  = 8 << 20
)

// route is one row of the table that everything else follows from: the mux,
// who may call it, what of the request is read, the OpenAPI document, the
// documentation and the metrics.
type route struct {
	id      string
	method  string
	path    string
	tag     string
	summary string
	text    string

	// roles may call it; a route without any needs no token.
	roles  []Role
	params []param
	body   *body
	// answers are the successes, problems the types of what can go wrong
	// beside what every route of its kind has (see allProblems).
	answers  []answer
	problems []string
	serve    func(*call) error

	metrics *routeMetrics
}

// param is a parameter of the path, the query or the header.
type param struct {
	in     string
	name   string
	text   string
	schema *huma.Schema
	many   bool
}

// body is what a route reads.
type body struct {
	// limit is in bytes; 0 is none, for streams.
	limit int64
	// types are the content types that it takes, with the type that each
	// holds; nil is text or bytes.
	types map[string]reflect.Type
	// optional bodies may be absent.
	optional bool
}

// answer is one success of a route.
type answer struct {
	status      int
	contentType string
	of          reflect.Type
	text        string
	headers     map[string]string
}

func jsonBody[T any](limit int64) *body {
	return &body{limit: limit, types: map[string]reflect.Type{"application/json": reflect.TypeFor[T]()}}
}

func jsonAnswer[T any](status int, text string) answer {
	return answer{status: status, contentType: "application/json", of: reflect.TypeFor[T](), text: text}
}

// allProblems adds to a route's own problems those that follow from what it
// is: with a token, a body, parameters, one of all methods.
func (r *route) allProblems() []string {
	all := slices.Clone(r.problems)
	if len(r.roles) > 0 {
		all = append(all, api.ProblemUnauthenticated, api.ProblemForbidden)
	}
	if r.body != nil {
		all = append(all, api.ProblemMalformed, api.ProblemMediaType)
		if r.body.limit > 0 {
			all = append(all, api.ProblemTooLarge)
		}
		if r.body.types["application/json"] != nil {
			all = append(all, api.ProblemInvalid)
		}
	}
	if slices.ContainsFunc(r.params, func(p param) bool { return p.in == "query" }) {
		all = append(all, api.ProblemMalformed, api.ProblemInvalid)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// document builds the OpenAPI document from the table.
func document(routes []*route, version string) *huma.OpenAPI {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "GCO", Version: version,
			Description: "The Global Capacity Orchestrator takes batch jobs through one API and runs them wherever there is capacity.",
			License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Components: &huma.Components{
			Schemas: schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"token": {Type: "http", Scheme: "bearer", Description: "A token of GCO, gco_<id>_<secret>, or where the server lets callers of AWS in, gco-aws-v1.<signed URL>."},
			},
		},
		Tags: tags,
	}
	for _, r := range routes {
		doc.AddOperation(r.operation(schemas))
	}
	// The data of the event stream, whose own type is only text.
	schemas.Schema(reflect.TypeFor[api.Event](), true, "")
	for name, schema := range schemas.Map() {
		settle(schema)
		describe(name, schema)
	}
	return doc
}

// fieldsJSON holds the comments of the types on the wire, by schema and by
// schema.field. A test writes it from the code.
//
//go:embed fields.json
var fieldsJSON []byte

var fieldTexts = func() map[string]string {
	var texts map[string]string
	if err := json.Unmarshal(fieldsJSON, &texts); err != nil {
		panic("server: fields.json: " + err.Error())
	}
	return texts
}()

// describe gives a schema and its properties the words of the code.
func describe(name string, schema *huma.Schema) {
	schema.Description = fieldTexts[name]
	for property, of := range schema.Properties {
		of.Description = fieldTexts[name+"."+property]
	}
}

// settle takes out of a schema what never is on the wire: lists that are null.
func settle(schema *huma.Schema) {
	if schema.Type == huma.TypeArray {
		schema.Nullable = false
	}
	for _, property := range schema.Properties {
		settle(property)
	}
	if schema.Items != nil {
		settle(schema.Items)
	}
	if values, ok := schema.AdditionalProperties.(*huma.Schema); ok {
		settle(values)
	}
}

func (r *route) operation(schemas huma.Registry) *huma.Operation {
	op := &huma.Operation{
		OperationID: r.id, Method: r.method, Path: r.path, Tags: []string{r.tag},
		Summary: r.summary, Description: r.text, Responses: map[string]*huma.Response{},
	}
	if len(r.roles) > 0 {
		op.Security = []map[string][]string{{"token": {}}}
		op.Extensions = map[string]any{"x-roles": r.roles}
	}
	for _, p := range r.params {
		op.Parameters = append(op.Parameters, p.document())
	}
	if r.body != nil {
		op.RequestBody = &huma.RequestBody{Required: !r.body.optional, Content: map[string]*huma.MediaType{}}
		for contentType, of := range r.body.types {
			op.RequestBody.Content[contentType] = mediaType(schemas, contentType, of)
		}
	}
	for _, a := range r.answers {
		response := &huma.Response{Description: a.text, Headers: headers(a.headers)}
		if a.contentType != "" {
			response.Content = map[string]*huma.MediaType{a.contentType: mediaType(schemas, a.contentType, a.of)}
		}
		op.Responses[strconv.Itoa(a.status)] = response
	}
	r.documentProblems(op, schemas)
	return op
}

// documentProblems merges the problems of one status into one response.
func (r *route) documentProblems(op *huma.Operation, schemas huma.Registry) {
	for _, kind := range r.allProblems() {
		k := problemKinds[kind]
		status := strconv.Itoa(k.status)
		if response := op.Responses[status]; response != nil && response.Content["application/problem+json"] != nil {
			response.Description += "; " + kind
			continue
		}
		response := &huma.Response{Description: kind, Content: map[string]*huma.MediaType{
			"application/problem+json": mediaType(schemas, "", reflect.TypeFor[api.Problem]()),
		}}
		if k.status == http.StatusTooManyRequests || k.status == http.StatusServiceUnavailable {
			response.Headers = headers(map[string]string{"Retry-After": "Seconds to wait before the next try."})
		}
		op.Responses[status] = response
	}
}

func (p param) document() *huma.Param {
	schema := p.schema
	out := &huma.Param{Name: p.name, In: p.in, Description: p.text, Required: p.in == "path", Schema: schema}
	if p.many {
		explode := true
		out.Schema = &huma.Schema{Type: huma.TypeArray, Items: schema}
		out.Explode = &explode
	}
	return out
}

func mediaType(schemas huma.Registry, contentType string, of reflect.Type) *huma.MediaType {
	if of == nil && contentType == "application/json" {
		return &huma.MediaType{Schema: &huma.Schema{}}
	}
	if of == nil {
		return &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return &huma.MediaType{Schema: schemas.Schema(of, true, "")}
}

func headers(texts map[string]string) map[string]*huma.Param {
	if len(texts) == 0 {
		return nil
	}
	out := map[string]*huma.Param{}
	for name, text := range texts {
		out[name] = &huma.Param{Description: text, Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return out
}

// Parameters that several routes have.
func pathParam(name, text string) param {
	return param{in: "path", name: name, text: text, schema: &huma.Schema{Type: huma.TypeString}}
}

func textParam(name, text string) param {
	return param{in: "query", name: name, text: text, schema: &huma.Schema{Type: huma.TypeString}}
}

func wholeParam(name, text string, least, most float64) param {
	return param{in: "query", name: name, text: text, schema: &huma.Schema{Type: huma.TypeInteger, Minimum: &least, Maximum: &most}}
}

func flagParam(name, text string) param {
	return param{in: "query", name: name, text: text, schema: &huma.Schema{Type: huma.TypeBoolean}}
}

func choiceParam(name, text string, words ...string) param {
	schema := &huma.Schema{Type: huma.TypeString}
	for _, word := range words {
		schema.Enum = append(schema.Enum, word)
	}
	return param{in: "query", name: name, text: text, schema: schema}
}

func (p param) repeatable() param {
	p.many = true
	return p
}

// byPath sorts routes as people look for them.
func byPath(routes []*route) []*route {
	return slices.SortedFunc(slices.Values(routes), func(a, b *route) int {
		return cmp.Or(cmp.Compare(a.path, b.path), cmp.Compare(a.method, b.method))
	})
}

func (b *body) contentTypes() []string { return slices.Sorted(maps.Keys(b.types)) }
