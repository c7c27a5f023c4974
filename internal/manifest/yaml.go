package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// yamlToJSON rewrites one YAML document as JSON, as it stands: keys that
// appear twice stay, for the decoder to find. What YAML has beyond JSON
// (anchors, aliases, merge keys, tags, keys that are not strings, NaN) is
// refused. nil where there is nothing to decode.
func (c *compiler) yamlToJSON(text []byte) []byte {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, another yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		c.addShape(root, "is empty; send a Kubernetes Job (batch/v1) as JSON or YAML")
		return nil
	case err != nil:
		c.addShape(root, "is not valid YAML: %s", yamlMessage(err))
		return nil
	}
	if err := decoder.Decode(&another); !errors.Is(err, io.EOF) {
		c.addShape(root, "has more than one YAML document; send one document a submission")
		return nil
	}
	before := len(c.shape)
	w := yamlWriter{compiler: c}
	w.value(document.Content[0], root, 1)
	if len(c.shape) > before {
		return nil
	}
	out := w.out.Bytes()
	if out[0] != '{' {
		c.addShape(root, "is %s; a Kubernetes Job is an object (a YAML mapping)", kindOfJSON(out))
		return nil
	}
	return c.bounded(out, measure(out))
}

func yamlMessage(err error) string {
	return abbreviated(strings.TrimPrefix(err.Error(), "yaml: "), maxFaultField)
}

type yamlWriter struct {
	*compiler
	out bytes.Buffer
}

func (w *yamlWriter) value(node *yaml.Node, at *field.Path, depth int) {
	switch {
	case node.Kind == yaml.AliasNode:
		w.addShape(at, "is the alias *%s (line %d); aliases are not accepted, write the value out", abbreviated(node.Value, maxQuoted), node.Line)
	case node.Anchor != "":
		w.addShape(at, "has the anchor &%s (line %d); anchors are not accepted", abbreviated(node.Anchor, maxQuoted), node.Line)
	case node.Style&yaml.TaggedStyle != 0:
		w.addShape(at, "has the tag %s (line %d); tags are not accepted", abbreviated(node.Tag, maxQuoted), node.Line)
	case node.Kind == yaml.ScalarNode:
		w.scalar(node, at)
	case depth > maxDepth:
		w.addShape(root, "is nested more than %d deep (line %d)", maxDepth, node.Line)
	case node.Kind == yaml.SequenceNode:
		w.sequence(node, at, depth)
	default:
		w.mapping(node, at, depth)
	}
}

func (w *yamlWriter) sequence(node *yaml.Node, at *field.Path, depth int) {
	w.out.WriteByte('[')
	for i, item := range node.Content {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.value(item, at.Index(i), depth+1)
	}
	w.out.WriteByte(']')
}

func (w *yamlWriter) mapping(node *yaml.Node, at *field.Path, depth int) {
	w.out.WriteByte('{')
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if i > 0 {
			w.out.WriteByte(',')
		}
		if !w.key(key, at) {
			continue
		}
		w.string(key.Value)
		w.out.WriteByte(':')
		w.value(node.Content[i+1], at.Child(key.Value), depth+1)
	}
	w.out.WriteByte('}')
}

// key tells whether a key is a plain string. Kubernetes' own tools turn other
// scalars into strings, each in its way; here it must be quoted.
func (w *yamlWriter) key(key *yaml.Node, at *field.Path) bool {
	tag := key.ShortTag()
	switch {
	case key.Kind == yaml.AliasNode || key.Anchor != "":
		w.addShape(at, "has a key with an anchor or an alias (line %d); they are not accepted", key.Line)
	case tag == "!!merge":
		w.addShape(at, "has a merge key << (line %d); merge keys are not accepted, write the fields out", key.Line)
	case key.Kind != yaml.ScalarNode || tag != "!!str" || key.Style&yaml.TaggedStyle != 0:
		w.addShape(at, "has a key that is not a string (line %d); put %s in quotes", key.Line, quoted(key.Value))
	default:
		return true
	}
	return false
}

func (w *yamlWriter) scalar(node *yaml.Node, at *field.Path) {
	switch node.ShortTag() {
	case "!!null":
		w.out.WriteString("null")
	case "!!bool":
		w.out.WriteString(strings.ToLower(node.Value))
	case "!!int", "!!float":
		w.number(node, at)
	default: // strings, and what YAML takes for a date
		w.string(node.Value)
	}
}

func (w *yamlWriter) number(node *yaml.Node, at *field.Path) {
	if json.Valid([]byte(node.Value)) {
		w.out.WriteString(node.Value)
		return
	}
	// Octal, hexadecimal, underscores, a leading plus or point.
	var number any
	if err := node.Decode(&number); err != nil {
		w.addShape(at, "is not a number (line %d): %s", node.Line, yamlMessage(err))
		return
	}
	switch n := number.(type) {
	case int:
		w.out.WriteString(strconv.Itoa(n))
	case int64:
		w.out.WriteString(strconv.FormatInt(n, 10))
	case uint64:
		w.out.WriteString(strconv.FormatUint(n, 10))
	case float64:
		if math.IsNaN(n) || math.IsInf(n, 0) {
			w.addShape(at, "is %s (line %d); only finite numbers are accepted", node.Value, node.Line)
			return
		}
		w.out.WriteString(strconv.FormatFloat(n, 'g', -1, 64))
	default:
		w.addShape(at, "is not a number: %s (line %d)", quoted(node.Value), node.Line)
	}
}

func (w *yamlWriter) string(text string) {
	encoded, err := json.Marshal(text)
	if err != nil {
		panic("manifest: a string that JSON cannot hold: " + err.Error())
	}
	w.out.Write(encoded)
}

// kindOfJSON names what a JSON text holds.
func kindOfJSON(text []byte) string {
	switch text[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a number"
}
