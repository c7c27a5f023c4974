package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxResult is how many bytes a job may leave in its result file, as much as
// Kubernetes keeps of a container's termination message.
const MaxResult = 4096

// Outputs are what a job left in its result file, by key. Each value is a
// JSON string, number or boolean.
type Outputs map[string]json.RawMessage

// maxOutputKey bounds the name of an output, in bytes.
const maxOutputKey = 63

var outputKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

// ValidOutput tells whether key can name an output: a letter or underscore,
// then letters, digits, and _ . -, at most 63 in all.
func ValidOutput(key string) bool { return len(key) <= maxOutputKey && outputKey.MatchString(key) }

// ParseOutputs reads a result file: a JSON object whose values are strings,
// numbers or booleans, or lines of KEY=VALUE, whose values are strings. Blank
// lines and lines that begin with # mean nothing; of a key that comes twice
// the last value stands. An empty file has no outputs.
func ParseOutputs(text string) (Outputs, error) {
	if len(text) > MaxResult {
		return nil, fmt.Errorf("it is over the limit of %d bytes", MaxResult)
	}
	text = strings.TrimSpace(text)
	switch {
	case !utf8.ValidString(text):
		return nil, errors.New("it is not UTF-8 text")
	case text == "":
		return nil, nil
	case text[0] == '{':
		return outputsOfJSON(text)
	default:
		return outputsOfLines(text)
	}
}

func outputsOfJSON(text string) (Outputs, error) {
	var outputs Outputs
	if err := json.Unmarshal([]byte(text), &outputs); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	for key, value := range outputs {
		if !ValidOutput(key) {
			return nil, invalidKey(key)
		}
		// Strings are written anew, so that what cannot be text is replaced.
		var scalar any
		decoder := json.NewDecoder(bytes.NewReader(value))
		decoder.UseNumber()
		if err := decoder.Decode(&scalar); err != nil {
			return nil, fmt.Errorf("the value of %s cannot be read: %w", key, err)
		}
		switch scalar.(type) {
		case string, json.Number, bool:
		default:
			return nil, fmt.Errorf("the value of %s is neither a string nor a number nor a boolean", key)
		}
		outputs[key] = encodeScalar(scalar)
	}
	return outputs, nil
}

func outputsOfLines(text string) (Outputs, error) {
	outputs := Outputs{}
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found {
			return nil, fmt.Errorf("line %d is not KEY=VALUE", number)
		}
		if key = strings.TrimSpace(key); !ValidOutput(key) {
			return nil, invalidKey(key)
		}
		outputs[key] = encodeScalar(value)
	}
	return outputs, nil
}

func invalidKey(key string) error {
	const most = 80
	return fmt.Errorf("%q cannot be a key: a letter or _, then letters, digits, _, . and -, at most %d in all",
		strings.ToValidUTF8(key[:min(len(key), most)], ""), maxOutputKey)
}

func encodeScalar(value any) json.RawMessage {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("job: a scalar that JSON cannot hold: " + err.Error())
	}
	return slices.Clone(bytes.TrimSuffix(out.Bytes(), []byte("\n")))
}
