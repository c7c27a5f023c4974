package sqlite

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/job"
)

// full returns a record in which every field differs from its zero value.
func full(t testing.TB) job.Job {
	t.Helper()
	var j job.Job
	v := reflect.ValueOf(&j).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch field := v.Field(i).Addr().Interface().(type) {
		case *int:
			*field = i + 1
		case *int64:
			*field = int64(i + 1)
		case **int:
			*field = new(int)
		case *time.Time:
			*field = time.Date(2030, 1, 2, 3, 4, 5, 1000*i, time.FixedZone("", 3600))
		case *job.Outputs:
			*field = job.Outputs{"n": []byte(`1`), "text": []byte(`"a, \"b\"}"`)}
		case *job.Spec:
		default:
			v.Field(i).SetString(name + ` says "é<` + "\n")
		}
	}
	return j
}

// withoutColumns returns a record without what has columns of its own, and with its
// times in UTC: what the column status can hold.
func withoutColumns(j job.Job) job.Job {
	j.ID, j.Spec, j.State, j.Version, j.Region = "", job.Spec{}, "", 0, ""
	for _, f := range statusFields(&j) {
		if f.time != nil && !f.time.IsZero() {
			*f.time = f.time.UTC()
		}
	}
	return j
}

func TestStatusHasEveryField(t *testing.T) {
	simple := full(t)
	simple.Message, simple.Reason = "exit code 3", "exit"
	for _, j := range []job.Job{{}, full(t), simple} {
		text := encodeStatus(&j)
		var got job.Job
		if err := decodeStatus(text, &got); err != nil {
			t.Fatal(err)
		}
		if want := withoutColumns(j); !reflect.DeepEqual(withoutColumns(got), want) {
			t.Errorf("%s\n got %+v\nwant %+v", text, got, want)
		}
		var slow status
		if err := json.Unmarshal([]byte(text), &slow); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(withoutColumns(slow.Job), withoutColumns(j)) {
			t.Errorf("%s\nis for encoding/json %+v", text, slow.Job)
		}
	}
}

// TestStatusOfOthers reads what a person may have made of the column.
func TestStatusOfOthers(t *testing.T) {
	j := job.Job{ID: "id", State: job.Running}
	if err := decodeStatus(`{ "logs": "live", "attempt": 2, "more": [1] }`, &j); err != nil {
		t.Fatal(err)
	}
	if j.ID != "id" || j.State != job.Running || j.Logs != job.LogsLive || j.Attempt != 2 {
		t.Errorf("%+v", j)
	}
	if err := decodeStatus(`{"attempt":`, &j); err == nil || !strings.Contains(err.Error(), "id") {
		t.Errorf("a broken status: %v", err)
	}
}

// FuzzDecodeStatus holds the decoder to encoding/json wherever it does not
// leave the work to it.
func FuzzDecodeStatus(f *testing.F) {
	j := full(f)
	f.Add(encodeStatus(&j))
	f.Add(`{}`)
	f.Add(`{"intent":"run","attempt":1,"exitCode":-0,"submittedAt":"2030-01-02T03:04:05.000000678Z","logs":"none"}`)
	f.Add(`{"intent":"a\u0041","attempt":01}`)
	f.Add(`{"attempt":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var fast job.Job
		if !decodeOwnStatus(text, &fast) {
			return
		}
		var slow status
		if err := json.Unmarshal([]byte(text), &slow); err != nil {
			t.Fatalf("%q is read as %+v, and encoding/json says %v", text, fast, err)
		}
		if !reflect.DeepEqual(withoutColumns(fast), withoutColumns(slow.Job)) {
			t.Errorf("%q\n got %+v\nwant %+v", text, fast, slow.Job)
		}
	})
}
