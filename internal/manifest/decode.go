package manifest

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"

	batchv1 "k8s.io/api/batch/v1"
	kjson "sigs.k8s.io/json"
)

// Limits on the text of a manifest, inclusive.
const (
	maxSize = 1 << 20
	// maxDepth counts objects and lists within each other.
	maxDepth = 50
	// maxValues bounds what the text decodes to: the shortest container takes
	// two bytes of text and a thousand of memory.
	maxValues = 20_000
)

// read brings whatever was sent to one JSON object; nil where that cannot be
// done. What begins with a brace is JSON, anything else YAML, so that every
// text has one meaning only.
func (c *compiler) read(raw []byte) []byte {
	if len(raw) > maxSize {
		c.addShape(root, "is %d bytes long; at most %d (1 MiB) are allowed", len(raw), maxSize)
		return nil
	}
	if !utf8.Valid(raw) {
		c.addShape(root, "is not UTF-8 from byte %d on", validPrefix(raw))
		return nil
	}
	text := bytes.TrimSpace(raw)
	if len(text) > 0 && text[0] == '"' {
		var inner string
		// A text that only begins like a JSON string may still be YAML.
		if json.Unmarshal(text, &inner) == nil {
			text = bytes.TrimSpace([]byte(inner))
		}
	}
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff")))
	switch {
	case len(text) == 0:
		c.addShape(root, "is empty; send a Kubernetes Job (batch/v1) as JSON or YAML")
		return nil
	case text[0] != '{':
		return c.yamlToJSON(text)
	}
	size := measure(text)
	if rest := bytes.TrimSpace(text[size.end:]); len(rest) > 0 {
		c.addShape(root, "goes on after its end (%s): send one document a submission", quoted(string(rest)))
		return nil
	}
	return c.bounded(text, size)
}

func (c *compiler) bounded(text []byte, size extent) []byte {
	switch {
	case size.depth > maxDepth:
		c.addShape(root, "is nested more than %d deep", maxDepth)
	case size.values > maxValues:
		c.addShape(root, "has more than %d values", maxValues)
	default:
		return text
	}
	return nil
}

// validPrefix is how many bytes of raw are UTF-8.
func validPrefix(raw []byte) int {
	at := 0
	for at < len(raw) {
		r, size := utf8.DecodeRune(raw[at:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		at += size
	}
	return at
}

// extent is what can be told of a JSON text without decoding it.
type extent struct {
	// depth is how deep it is nested, values at least how many it has.
	depth, values int
	// end is where the first value ends; the text's length if it does not.
	end int
}

// measure scans JSON that begins with a bracket. It sees no fault; the
// decoder does.
func measure(text []byte) extent {
	size := extent{end: len(text)}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{', '[':
			depth++
			size.values++
			size.depth = max(size.depth, depth)
		case ',':
			size.values++
		case '}', ']':
			depth--
			if depth == 0 {
				size.end = i + 1
				return size
			}
		case '"':
			i = endOfString(text, i)
		}
	}
	return size
}

// endOfString returns the index of the quote that ends the string that begins
// at start.
func endOfString(text []byte, start int) int {
	for i := start + 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}

// decode makes a Job of a JSON object; nil where that cannot be done. The
// common case is one strict pass, which tells that something is wrong but not
// everything and not always where; then the text is looked at once more.
func (c *compiler) decode(text []byte) *batchv1.Job {
	if costlyNumber(text) {
		return c.diagnose(text, nil)
	}
	var j batchv1.Job
	strict, err := kjson.UnmarshalStrict(text, &j)
	if err == nil && len(strict) == 0 {
		return &j
	}
	if isSyntax, offset := kjson.SyntaxErrorOffset(err); isSyntax {
		line, column := position(text, offset)
		c.addShape(root, "is not valid JSON: %s (line %d, column %d)", err, line, column)
		return nil
	}
	return c.diagnose(text, err)
}

// maxDigits bounds a number, with sign, point and exponent.
const maxDigits = 40

// costlyNumber tells whether the text holds what may be a number of very many
// digits or with an exponent above 99. To decode such a Kubernetes quantity
// takes minutes of CPU, so it must be kept from the decoder. It may be part of
// a string where it does no harm: the caller has to look closer.
func costlyNumber(text []byte) bool {
	run := 0
	for i, b := range text {
		switch {
		case digit(b), b == '.', b == '-', b == '+':
			run++
		case (b == 'e' || b == 'E') && run > 0:
			run++
			exponent := bytes.TrimLeft(text[i+1:min(i+maxDigits, len(text))], "+-0")
			if len(exponent) > 2 && digit(exponent[0]) && digit(exponent[1]) && digit(exponent[2]) {
				return true
			}
		default:
			run = 0
			continue
		}
		if run > maxDigits {
			return true
		}
	}
	return false
}

// position turns an offset into a line and a column, both from 1.
func position(text []byte, offset int64) (line, column int) {
	before := text[:min(max(offset-1, 0), int64(len(text)))]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}

// checkKind refuses everything but a Job. Other faults of another kind would
// say nothing, so it is the only one then.
func (c *compiler) checkKind(j *batchv1.Job) bool {
	if j.APIVersion == "batch/v1" && j.Kind == "Job" {
		return true
	}
	if c.spoils(root.Child("kind")) || c.spoils(root.Child("apiVersion")) {
		return false
	}
	c.faults = faults{}
	switch {
	case j.APIVersion == "" && j.Kind == "":
		c.add(root, "has no apiVersion and kind; GCO runs Kubernetes Jobs: apiVersion: batch/v1, kind: Job")
	case strings.HasSuffix(j.Kind, "List"):
		c.add(root.Child("kind"), "is %s; send each of its Jobs as a submission of its own", quoted(j.Kind))
	default:
		if j.APIVersion != "batch/v1" {
			c.add(root.Child("apiVersion"), "is %s, must be \"batch/v1\"", quoted(j.APIVersion))
		}
		if j.Kind != "Job" {
			c.add(root.Child("kind"), "is %s, must be \"Job\"", quoted(j.Kind))
		}
	}
	return false
}
