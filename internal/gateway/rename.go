package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
)

// maxNamed bounds a body in which the name of a model is looked for.
const maxNamed = 16 << 20

// named tells whether a request may name a model in its body, as those of
// OpenAI's API do.
func named(r *http.Request) bool {
	if r.Method != http.MethodPost || r.ContentLength == 0 {
		return false
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && contentType == "application/json"
}

// rename reads the body, and puts the name that the replicas know in the place
// of the model's.
func (x *exchange) rename(models map[string]string) error {
	limit := int64(maxNamed)
	if x.limits.BodyBytes > 0 {
		limit = min(limit, x.limits.BodyBytes)
	}
	if x.r.ContentLength > limit {
		return tooLarge(limit)
	}
	body, err := io.ReadAll(io.LimitReader(x.r.Body, limit+1))
	switch {
	case err != nil:
		return errClient
	case int64(len(body)) > limit:
		return tooLarge(limit)
	}
	x.body, x.whole = renamed(body, models), true
	return nil
}

// renamed is the document with another value of its member model. One that is
// no object, or names no model that is mapped, stays as it is, to the byte.
func renamed(document []byte, models map[string]string) []byte {
	start, end, name := modelOf(document)
	to, mapped := models[name]
	if end == 0 || !mapped {
		return document
	}
	value, err := json.Marshal(to)
	if err != nil {
		return document
	}
	return slices.Concat(document[:start], value, document[end:])
}

// modelOf finds the value of the member model, a string: document[start:end].
// end is 0 where there is none. Of several, replicas take the last one.
func modelOf(document []byte) (start, end int, name string) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	if first, err := decoder.Token(); err != nil || first != json.Delim('{') {
		return 0, 0, ""
	}
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return 0, 0, ""
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return 0, 0, ""
		}
		if key != "model" {
			continue
		}
		end = int(decoder.InputOffset())
		start = end - len(value)
		if json.Unmarshal(value, &name) != nil {
			name, start, end = "", 0, 0
		}
	}
	if _, err := decoder.Token(); err != nil {
		return 0, 0, ""
	}
	return start, end, name
}
