package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// The OpenAPI document promises routes, statuses, headers and fields. This
// file watches everything that goes over the wire in a long scenario
// (openapi_scenario_test.go) and holds it against the document, both ways:
// what is documented has to happen, and what happens has to be documented.

// exchange is one request and its answer.
type exchange struct {
	route         *route
	request       []byte
	requestType   string
	parameters    []string
	status        int
	header        http.Header
	body          []byte
	requestHeader http.Header
}

// recorder is a transport that remembers.
type recorder struct {
	mu        sync.Mutex
	routes    func() []*route
	exchanges []*exchange
	wanderers []string
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	e := &exchange{requestType: request.Header.Get("Content-Type"), requestHeader: request.Header}
	if request.GetBody != nil {
		body, err := request.GetBody()
		if err != nil {
			return nil, err
		}
		if e.request, err = io.ReadAll(body); err != nil {
			return nil, err
		}
	}
	for name := range request.URL.Query() {
		e.parameters = append(e.parameters, name)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	e.status, e.header = response.StatusCode, response.Header
	response.Body = &tee{ReadCloser: response.Body, done: func(body []byte) { r.add(request, e, body) }}
	return response, nil
}

func (r *recorder) add(request *http.Request, e *exchange, body []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e.body = body
	for _, route := range r.routes() {
		if route.method == request.Method && pathPattern(route.path).MatchString(request.URL.Path) {
			e.route = route
			r.exchanges = append(r.exchanges, e)
			return
		}
	}
	r.wanderers = append(r.wanderers, request.Method+" "+request.URL.Path)
}

func pathPattern(path string) *regexp.Regexp {
	return regexp.MustCompile("^" + regexp.MustCompile(`\\\{[^}]*\\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
}

// tee keeps what is read, and hands it over once.
type tee struct {
	io.ReadCloser
	kept bytes.Buffer
	once sync.Once
	done func([]byte)
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.kept.Write(p[:n])
	if err != nil {
		t.finish()
	}
	return n, err
}

func (t *tee) Close() error {
	t.finish()
	return t.ReadCloser.Close()
}

func (t *tee) finish() { t.once.Do(func() { t.done(t.kept.Bytes()) }) }

// openAPI is the document as a client reads it, and not as the server holds
// it.
type openAPI struct {
	Paths      map[string]map[string]operationDoc `json:"paths"`
	Components struct {
		Schemas map[string]*schemaDoc `json:"schemas"`
	} `json:"components"`
}

type operationDoc struct {
	ID         string `json:"operationId"`
	Parameters []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	RequestBody *struct {
		Content map[string]mediaDoc `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Headers map[string]any      `json:"headers"`
		Content map[string]mediaDoc `json:"content"`
	} `json:"responses"`
}

type mediaDoc struct {
	Schema *schemaDoc `json:"schema"`
}

type schemaDoc struct {
	Ref        string                `json:"$ref"`
	Type       any                   `json:"type"`
	Format     string                `json:"format"`
	Enum       []any                 `json:"enum"`
	Properties map[string]*schemaDoc `json:"properties"`
	Required   []string              `json:"required"`
	Items      *schemaDoc            `json:"items"`
	Additional json.RawMessage       `json:"additionalProperties"`
}

// witness holds what was seen against the document.
type witness struct {
	t   *testing.T
	doc openAPI
	// seen has every field of a schema that was in a body, and every value of
	// an enum.
	seen map[string]bool
}

func TestEverythingInTheDocumentIsTrue(t *testing.T) {
	record := &recorder{}
	playScenario(t, record)

	w := &witness{t: t, seen: map[string]bool{}}
	record.mu.Lock()
	defer record.mu.Unlock()
	for _, e := range record.exchanges {
		if e.route.path == "/openapi.json" {
			if err := json.Unmarshal(e.body, &w.doc); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(record.wanderers) > 0 {
		t.Errorf("requests to no route: %v", record.wanderers)
	}

	happened := map[string]bool{}
	for _, e := range record.exchanges {
		op := w.doc.Paths[e.route.path][strings.ToLower(e.route.method)]
		key := op.ID + " " + strconv.Itoa(e.status)
		if _, ok := op.Responses[strconv.Itoa(e.status)]; !ok {
			t.Errorf("%s was answered and is not documented: %.200s", key, e.body)
			continue
		}
		happened[key] = true
		w.answer(op, e)
		if e.status < 300 {
			w.request(op, e)
		}
	}
	w.everyStatus(happened)
	w.everyField()
}

// answer checks one answer's headers and body.
func (w *witness) answer(op operationDoc, e *exchange) {
	documented := op.Responses[strconv.Itoa(e.status)]
	where := fmt.Sprintf("%s %d", op.ID, e.status)
	for name := range documented.Headers {
		if e.header.Get(name) == "" {
			w.t.Errorf("%s: no header %s: %.200s", where, name, e.body)
		}
	}
	if e.header.Get("X-Request-Id") == "" {
		w.t.Errorf("%s: no request ID", where)
	}
	contentType, _, _ := strings.Cut(e.header.Get("Content-Type"), ";")
	if len(documented.Content) == 0 {
		if len(e.body) > 0 {
			w.t.Errorf("%s: an undocumented body: %.200s", where, e.body)
		}
		return
	}
	media, ok := documented.Content[contentType]
	if !ok {
		w.t.Errorf("%s: Content-Type %q is not documented", where, contentType)
		return
	}
	switch {
	case contentType == "text/event-stream":
		w.events(where, e.body)
	case strings.HasSuffix(contentType, "json"):
		w.json(where, media.Schema, e.body)
	}
}

// events checks the data of each event of a stream.
func (w *witness) events(where string, stream []byte) {
	for line := range strings.Lines(string(stream)) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if ok && !strings.HasPrefix(data, `{"message"`) {
			w.json(where, &schemaDoc{Ref: "#/components/schemas/Event"}, []byte(data))
		}
	}
}

// request counts what a successful request said.
func (w *witness) request(op operationDoc, e *exchange) {
	for _, name := range e.parameters {
		w.seen[op.ID+" query "+name] = true
	}
	for _, p := range op.Parameters {
		if p.In == "header" && e.requestHeader.Get(p.Name) != "" {
			w.seen[op.ID+" header "+p.Name] = true
		}
	}
	if op.RequestBody == nil {
		return
	}
	contentType, _, _ := strings.Cut(e.requestType, ";")
	w.seen[op.ID+" body "+contentType] = true
	media, ok := op.RequestBody.Content[contentType]
	if ok && strings.HasSuffix(contentType, "json") && len(e.request) > 0 && !bytes.HasPrefix(e.request, []byte(`{"apiVersion"`)) {
		w.json(op.ID+" request", media.Schema, e.request)
	}
}

func (w *witness) json(where string, schema *schemaDoc, body []byte) {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		w.t.Errorf("%s: %v: %.200s", where, err, body)
		return
	}
	w.value(where, schema, value)
}

// value checks a value strictly: no field that is not in the schema.
func (w *witness) value(where string, schema *schemaDoc, value any) {
	name := ""
	if schema.Ref != "" {
		name = schema.Ref[strings.LastIndexByte(schema.Ref, '/')+1:]
		if schema = w.doc.Components.Schemas[name]; schema == nil {
			w.t.Fatalf("%s: no schema %s", where, name)
		}
	}
	if types := typesOf(schema); len(types) > 0 && !slices.Contains(types, jsonType(value, types)) {
		w.t.Errorf("%s: %v is not %v", where, value, types)
		return
	}
	if len(schema.Enum) > 0 && value != nil {
		if !slices.Contains(schema.Enum, value) {
			w.t.Errorf("%s: %v is not one of %v", where, value, schema.Enum)
		}
		w.seen[fmt.Sprintf("enum %s %v", enumKey(schema), value)] = true
	}
	if text, ok := value.(string); ok && schema.Format == "date-time" {
		if at, err := time.Parse(time.RFC3339, text); err != nil || at.Location() != time.UTC {
			w.t.Errorf("%s: %q is no time in UTC", where, text)
		}
	}
	switch value := value.(type) {
	case map[string]any:
		w.object(where, name, schema, value)
	case []any:
		for i, item := range value {
			if schema.Items != nil {
				w.value(fmt.Sprintf("%s[%d]", where, i), schema.Items, item)
			}
		}
	}
}

func (w *witness) object(where, name string, schema *schemaDoc, value map[string]any) {
	var additional schemaDoc
	free := schema.Properties == nil || json.Unmarshal(schema.Additional, &additional) == nil && schema.Additional[0] == '{'
	for key, item := range value {
		if property, ok := schema.Properties[key]; ok {
			w.seen[name+"."+key] = true
			w.value(where+"."+key, property, item)
		} else if !free {
			w.t.Errorf("%s: %s is not documented", where, key)
		} else if len(schema.Additional) > 0 && schema.Additional[0] == '{' {
			_ = json.Unmarshal(schema.Additional, &additional)
			w.value(where+"."+key, &additional, item)
		}
	}
	for _, key := range schema.Required {
		if _, ok := value[key]; !ok {
			w.t.Errorf("%s: %s is required and not there", where, key)
		}
	}
}

func typesOf(schema *schemaDoc) []string {
	switch t := schema.Type.(type) {
	case string:
		return []string{t}
	case []any:
		var types []string
		for _, one := range t {
			types = append(types, one.(string))
		}
		return types
	}
	return nil
}

func jsonType(value any, wanted []string) string {
	switch value := value.(type) {
	case nil:
		return "null"
	case bool:
		return "boolean"
	case string:
		return huma.TypeString
	case float64:
		if slices.Contains(wanted, "integer") && value == float64(int64(value)) {
			return "integer"
		}
		return "number"
	case []any:
		return huma.TypeArray
	default:
		return huma.TypeObject
	}
}

func enumKey(schema *schemaDoc) string { return fmt.Sprint(schema.Enum) }

// everyStatus fails for each documented route, status, parameter and body
// that no exchange has shown.
func (w *witness) everyStatus(happened map[string]bool) {
	for path, operations := range w.doc.Paths {
		for method, op := range operations {
			for status := range op.Responses {
				if !happened[op.ID+" "+status] {
					w.t.Errorf("nothing provokes %s of %s %s (%s)", status, strings.ToUpper(method), path, op.ID)
				}
			}
			for _, p := range op.Parameters {
				if p.In != "path" && !w.seen[op.ID+" "+p.In+" "+p.Name] {
					w.t.Errorf("nothing uses %s parameter %s of %s", p.In, p.Name, op.ID)
				}
			}
			if op.RequestBody == nil {
				continue
			}
			for contentType := range op.RequestBody.Content {
				if !w.seen[op.ID+" body "+contentType] {
					w.t.Errorf("nothing sends %s to %s", contentType, op.ID)
				}
			}
		}
	}
}

// everyField fails for each documented field that was in no body.
func (w *witness) everyField() {
	for _, name := range slices.Sorted(maps.Keys(w.doc.Components.Schemas)) {
		for _, property := range slices.Sorted(maps.Keys(w.doc.Components.Schemas[name].Properties)) {
			if !w.seen[name+"."+property] {
				w.t.Errorf("no body has %s.%s", name, property)
			}
		}
	}
}
