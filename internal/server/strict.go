package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gco-project/gco/internal/job"
)

// maxDepth bounds how deep objects and lists may nest.
const maxDepth = 50

// maxFaults bounds how many faults of one body are told.
const maxFaults = 100

// malformed says that a body is not JSON as this API reads it. Nothing of it
// was understood, in contrast to a body with faults.
type malformed struct{ message string }

func (e *malformed) Error() string { return e.message }

// decodeStrict reads one JSON document into a value whose type has the shape.
// It goes through the text once for what encoding/json lets pass (unknown,
// repeated, missing and differently cased names, nulls, bytes that are not
// UTF-8) and lists every fault with its path. What can be decoded is decoded
// even then. The error is *malformed.
func decodeStrict(text []byte, of *shape, into any) ([]job.Fault, error) {
	s, err := scanDocument(text, of)
	if err != nil {
		return nil, err
	}
	return s.unmarshal(text, into)
}

// scanDocument checks that text is one JSON value.
func scanDocument(text []byte, of *shape) (*scanner, error) {
	if !utf8.Valid(text) {
		return nil, &malformed{"the body is not UTF-8 text"}
	}
	s := &scanner{text: text}
	s.path, s.names, s.top = s.room.path[:0], s.room.names[:0], s.room.top[:0]
	s.space()
	if s.at == len(text) {
		return nil, &malformed{"the body is empty; it should be a JSON document"}
	}
	if err := s.value(of); err != nil {
		return nil, err
	}
	s.space()
	if s.at < len(text) {
		return nil, s.broken("something follows the end of the document")
	}
	return s, nil
}

func (s *scanner) unmarshal(text []byte, into any) ([]job.Fault, error) {
	err := json.Unmarshal(text, into)
	if err == nil {
		return s.faults, nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		// A wrong kind of value is in the faults already; what is left are
		// numbers that are out of range.
		if len(s.faults) == 0 {
			s.faults = append(s.faults, job.Fault{Field: wrong.Field, Message: fmt.Sprintf("%s is out of range", wrong.Value)})
		}
		return s.faults, nil
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok || len(s.faults) == 0 {
		return nil, &malformed{"the body is not JSON: " + err.Error()}
	}
	return s.faults, nil
}

// scanner goes through a JSON text with a shape beside it. It is lenient
// about the inside of literals: encoding/json reads those afterwards.
type scanner struct {
	text   []byte
	at     int
	path   []step
	faults []job.Fault
	// top collects the names of the outermost object.
	top [][]byte
	// names is a stack of the names of the objects that are open.
	names [][]byte

	// Room for what most documents need, so that the slices above do not
	// have to grow.
	room struct {
		path  [16]step
		names [32][]byte
		top   [8][]byte
	}
}

// step is a name, or where that is nil an index.
type step struct {
	name  []byte
	index int
}

func (s *scanner) broken(what string) error {
	return &malformed{fmt.Sprintf("the body is not JSON: %s, at byte %d", what, s.at)}
}

func (s *scanner) fault(format string, args ...any) {
	if len(s.faults) < maxFaults {
		s.faults = append(s.faults, job.Fault{Field: s.field(), Message: fmt.Sprintf(format, args...)})
	}
}

// field writes the path as users do: a.b[2].c.
func (s *scanner) field() string {
	var b strings.Builder
	for _, step := range s.path {
		if step.name == nil {
			b.WriteString("[" + strconv.Itoa(step.index) + "]")
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.Write(step.name)
	}
	return b.String()
}

func (s *scanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// value reads one value, from its first byte to its last.
func (s *scanner) value(of *shape) error {
	if s.at == len(s.text) {
		return s.broken("it ends too early")
	}
	switch c := s.text[s.at]; {
	case c == '{':
		return s.object(of)
	case c == '[':
		return s.list(of)
	case c == '"':
		text, err := s.str()
		if err == nil {
			s.checkText(of, text)
		}
		return err
	case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
		s.checkLiteral(of, s.literal())
		return nil
	default:
		return s.broken(fmt.Sprintf("%q starts no value", c))
	}
}

func (s *scanner) object(of *shape) error {
	if len(s.path) >= maxDepth {
		return &malformed{fmt.Sprintf("the body nests more than %d levels deep", maxDepth)}
	}
	if of.kind != kindAny && of.kind != kindStruct && of.kind != kindMap {
		s.fault("is an object, and should be %s", of.kind)
		of = anyShape
	}
	s.at++
	outermost := len(s.path) == 0
	first := len(s.names)
	var many map[string]bool
	for n := 0; ; n++ {
		s.space()
		if s.at < len(s.text) && s.text[s.at] == '}' && n == 0 {
			s.at++
			break
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		s.path = append(s.path, step{name: name})
		if s.repeated(first, &many, name) {
			return &malformed{fmt.Sprintf("the name %q comes twice in one object", s.field())}
		}
		if outermost && len(s.top) < maxFaults {
			s.top = append(s.top, name)
		}
		if err := s.value(s.member(of, name)); err != nil {
			return err
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		if s.at == len(s.text) {
			return s.broken("it ends too early")
		}
		c := s.text[s.at]
		s.at++
		if c == '}' {
			break
		}
		if c != ',' {
			s.at--
			return s.broken(fmt.Sprintf("%q is neither ',' nor '}'", c))
		}
	}
	s.checkRequired(of, s.names[first:])
	s.names = s.names[:first]
	return nil
}

// has tells whether the outermost object has a name.
func (s *scanner) has(name string) bool {
	return slices.ContainsFunc(s.top, func(n []byte) bool { return string(n) == name })
}

// name reads the name of a member and the colon after it.
func (s *scanner) name() ([]byte, error) {
	if s.at == len(s.text) || s.text[s.at] != '"' {
		return nil, s.broken("a name in quotes is missing")
	}
	name, err := s.str()
	if err != nil {
		return nil, err
	}
	s.space()
	if s.at == len(s.text) || s.text[s.at] != ':' {
		return nil, s.broken("a ':' is missing")
	}
	s.at++
	s.space()
	return name, nil
}

// repeated adds a name to the open object, and tells whether it was there.
// Few objects have more than a handful of names; a big one gets a map, so that
// the cost does not grow with the square of the body.
func (s *scanner) repeated(first int, many *map[string]bool, name []byte) bool {
	const few = 16
	names := s.names[first:]
	s.names = append(s.names, name)
	if len(names) < few {
		return slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, name) })
	}
	if *many == nil {
		*many = make(map[string]bool, 4*few)
		for _, n := range names {
			(*many)[string(n)] = true
		}
	}
	if (*many)[string(name)] {
		return true
	}
	(*many)[string(name)] = true
	return false
}

// member is the shape of what a name holds.
func (s *scanner) member(of *shape, name []byte) *shape {
	switch of.kind {
	case kindMap:
		return of.element
	case kindStruct:
		if field, ok := of.fields[string(name)]; ok {
			return field
		}
		if len(s.faults) < maxFaults {
			s.fault("is no field here%s", of.nearest(string(name)))
		}
	}
	return anyShape
}

func (s *scanner) checkRequired(of *shape, names [][]byte) {
	for _, required := range of.required {
		if !slices.ContainsFunc(names, func(n []byte) bool { return string(n) == required }) {
			s.path = append(s.path, step{name: []byte(required)})
			s.fault("is required")
			s.path = s.path[:len(s.path)-1]
		}
	}
}

func (s *scanner) list(of *shape) error {
	if len(s.path) >= maxDepth {
		return &malformed{fmt.Sprintf("the body nests more than %d levels deep", maxDepth)}
	}
	element := anyShape
	switch of.kind {
	case kindList:
		element = of.element
	case kindAny:
	default:
		s.fault("is a list, and should be %s", of.kind)
	}
	s.at++
	for n := 0; ; n++ {
		s.space()
		if s.at < len(s.text) && s.text[s.at] == ']' && n == 0 {
			s.at++
			return nil
		}
		s.path = append(s.path, step{index: n})
		start := s.at
		if err := s.value(element); err != nil {
			return err
		}
		if of.each != nil {
			of.each(s.text[start:s.at])
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		if s.at == len(s.text) {
			return s.broken("it ends too early")
		}
		c := s.text[s.at]
		s.at++
		if c == ']' {
			return nil
		}
		if c != ',' {
			s.at--
			return s.broken(fmt.Sprintf("%q is neither ',' nor ']'", c))
		}
	}
}

// str reads a string; the result shares the text where nothing is escaped.
func (s *scanner) str() ([]byte, error) {
	start := s.at
	escaped := false
	for s.at++; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; {
		case c == '\\':
			escaped = true
			s.at++
		case c == '"':
			s.at++
			if !escaped {
				return s.text[start+1 : s.at-1], nil
			}
			var plain string
			if err := json.Unmarshal(s.text[start:s.at], &plain); err != nil {
				s.at = start
				return nil, s.broken("a string has an escape that JSON does not know")
			}
			return []byte(plain), nil
		case c < ' ':
			return nil, s.broken("a string has a control character")
		}
	}
	return nil, s.broken("a string does not end")
}

// literal reads a number, true, false or null.
func (s *scanner) literal() []byte {
	start := s.at
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ',', ']', '}', ' ', '\t', '\n', '\r', ':', '"', '{', '[':
			return s.text[start:s.at]
		}
		s.at++
	}
	return s.text[start:]
}

func (s *scanner) checkText(of *shape, text []byte) {
	switch of.kind {
	case kindAny:
	case kindMoment:
		if _, err := time.Parse(time.RFC3339, string(text)); err != nil {
			s.fault("%q is not a time of RFC 3339, such as 2026-01-31T12:00:00Z", shorten(text))
		}
	case kindText:
		if len(of.enum) > 0 && !slices.Contains(of.enum, string(text)) {
			s.fault("%q is not one of %s", shorten(text), strings.Join(of.enum, ", "))
		}
	default:
		s.fault("is a string, and should be %s", of.kind)
	}
}

func (s *scanner) checkLiteral(of *shape, text []byte) {
	switch string(text) {
	case "null":
		if of.kind != kindAny && !of.nullable {
			s.fault("is null, and should be %s", of.kind)
		}
		return
	case "true", "false":
		if of.kind != kindAny && of.kind != kindBool {
			s.fault("is %s, and should be %s", text, of.kind)
		}
		return
	}
	switch of.kind {
	case kindAny, kindNumber:
	case kindWhole:
		if bytes.ContainsAny(text, ".eE") {
			s.fault("%s is not a whole number", shorten(text))
		}
	default:
		s.fault("is a number, and should be %s", of.kind)
	}
}

func shorten(text []byte) string {
	const most = 64
	if len(text) <= most {
		return string(text)
	}
	return strings.ToValidUTF8(string(text[:most]), "") + "…"
}
