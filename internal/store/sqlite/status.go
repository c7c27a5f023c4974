package sqlite

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/job"
)

// This file writes and reads the column status: the fields of a record that
// have no column of their own, as a flat JSON object in a fixed order. It does
// by hand what encoding/json would do: every claim reads and writes it for
// every job, and reflection there costs more than the database does.

// statusField is one field of the object; one of the pointers is set.
type statusField struct {
	name    string
	text    *string
	number  *int
	code    **int
	time    *time.Time
	outputs *job.Outputs
}

// statusFields lists the fields in their order in the column. A test fails
// when package job has one that is missing here.
func statusFields(j *job.Job) [21]statusField {
	return [...]statusField{
		{name: "intent", text: (*string)(&j.Intent)},
		{name: "stopReason", text: (*string)(&j.StopReason)},
		{name: "attempt", number: &j.Attempt},
		{name: "failures", number: &j.Failures},
		{name: "losses", number: &j.Losses},
		{name: "releases", number: &j.Releases},
		{name: "moves", number: &j.Moves},
		{name: "reason", text: &j.Reason},
		{name: "message", text: &j.Message},
		{name: "exitCode", code: &j.ExitCode},
		{name: "outputs", outputs: &j.Outputs},
		{name: "submittedAt", time: &j.SubmittedAt},
		{name: "notBefore", time: &j.NotBefore},
		{name: "deadlineAt", time: &j.DeadlineAt},
		{name: "placedAt", time: &j.PlacedAt},
		{name: "claimedAt", time: &j.ClaimedAt},
		{name: "startedAt", time: &j.StartedAt},
		{name: "finishedAt", time: &j.FinishedAt},
		{name: "updatedAt", time: &j.UpdatedAt},
		{name: "regionLostAt", time: &j.RegionLostAt},
		{name: "logs", text: (*string)(&j.Logs)},
	}
}

// encodeStatus returns the column status of a record. Zero values are left
// out; times are in UTC.
func encodeStatus(j *job.Job) string {
	b := append(make([]byte, 0, 512), '{')
	for _, f := range statusFields(j) {
		switch {
		case f.text != nil && *f.text != "":
			b = appendText(appendName(b, f.name), *f.text)
		case f.number != nil && *f.number != 0:
			b = strconv.AppendInt(appendName(b, f.name), int64(*f.number), 10)
		case f.code != nil && *f.code != nil:
			b = strconv.AppendInt(appendName(b, f.name), int64(**f.code), 10)
		case f.time != nil && !f.time.IsZero():
			b = append(f.time.UTC().AppendFormat(append(appendName(b, f.name), '"'), time.RFC3339Nano), '"')
		case f.outputs != nil && len(*f.outputs) > 0:
			b = append(appendName(b, f.name), encodeOutputs(*f.outputs)...)
		}
	}
	return string(append(b, '}'))
}

// encodeOutputs needs no speed: few jobs have any. A column with outputs is
// left to encoding/json by decodeStatus, too.
func encodeOutputs(outputs job.Outputs) []byte {
	text, err := json.Marshal(outputs)
	if err != nil {
		panic("sqlite: outputs that JSON cannot hold: " + err.Error())
	}
	return text
}

func appendName(b []byte, name string) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	return append(append(append(b, '"'), name...), '"', ':')
}

func appendText(b []byte, text string) []byte {
	if isPlain(text) {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		panic("sqlite: a string that JSON cannot hold: " + err.Error())
	}
	return append(b, quoted...)
}

// isPlain tells whether a text is the same in JSON.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// decodeStatus reads the column into a record. What encodeStatus did not write
// is left to encoding/json.
func decodeStatus(text string, j *job.Job) error {
	fast := *j
	if decodeOwnStatus(text, &fast) {
		*j = fast
		return nil
	}
	s := status{Job: *j}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("reading the status of job %s: %w", j.ID, err)
	}
	*j = s.Job
	return nil
}

// status is the same object for encoding/json: a record without what has
// columns of its own.
type status struct {
	job.Job
	ID      *struct{} `json:"id,omitempty"`
	Spec    *struct{} `json:"spec,omitempty"`
	State   *struct{} `json:"state,omitempty"`
	Version *struct{} `json:"version,omitempty"`
	Region  *struct{} `json:"region,omitempty"`
}

// decodeOwnStatus reads what encodeStatus wrote, and refuses everything else.
func decodeOwnStatus(text string, j *job.Job) bool {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok || rest == "}" {
		return ok
	}
	for _, f := range statusFields(j) {
		after, ok := strings.CutPrefix(rest, `"`+f.name+`":`)
		if !ok {
			continue
		}
		value, after, ok := cutValue(after)
		if !ok || !f.set(value) {
			return false
		}
		if after == "}" {
			return true
		}
		if rest, ok = strings.CutPrefix(after, ","); !ok {
			return false
		}
	}
	return false
}

// cutValue cuts a number, or a plain string with its quotes.
func cutValue(text string) (value, after string, ok bool) {
	end := strings.IndexAny(text, ",}")
	if strings.HasPrefix(text, `"`) {
		end = strings.IndexByte(text[1:], '"') + 2
		if end < 2 || !isPlain(text[1:end-1]) {
			return "", "", false
		}
	}
	if end <= 0 {
		return "", "", false
	}
	return text[:end], text[end:], true
}

// set gives a field the value.
func (f *statusField) set(value string) bool {
	if text, quoted := strings.CutPrefix(value, `"`); quoted {
		text = strings.TrimSuffix(text, `"`)
		if f.text != nil {
			*f.text = text
		}
		return f.text != nil || (f.time != nil && f.time.UnmarshalText([]byte(text)) == nil)
	}
	number, err := strconv.Atoi(value)
	switch {
	case err != nil || strconv.Itoa(number) != value:
		return false
	case f.number != nil:
		*f.number = number
	case f.code != nil:
		*f.code = &number
	default:
		return false
	}
	return true
}
