package job

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestIDsSortByTheTimeOfSubmission(t *testing.T) {
	var ids []ID
	for range 1000 {
		ids = append(ids, NewID())
	}
	if !slices.IsSorted(ids) {
		t.Error("IDs made in order are not in order")
	}
	if len(slices.Compact(ids)) != 1000 {
		t.Error("an ID was made twice")
	}
}

func TestParseID(t *testing.T) {
	id := NewID()
	if parsed, err := ParseID(string(id)); err != nil || parsed != id {
		t.Errorf("ParseID(%q) = %q, %v", id, parsed, err)
	}
	for _, text := range []string{"", "x", string(id) + "0", "../" + string(id)} {
		if parsed, err := ParseID(text); err == nil {
			t.Errorf("ParseID(%q) = %q; want an error", text, parsed)
		}
	}
}

// FuzzParseID: whatever is accepted has one spelling, safe in a path.
func FuzzParseID(f *testing.F) {
	for _, seed := range []string{
		"", "0194fdc2-fa2f-7cc0-81d3-ff12045b73c8", "0194FDC2-FA2F-7CC0-81D3-FF12045B73C8",
		"{0194fdc2-fa2f-7cc0-81d3-ff12045b73c8}", "urn:uuid:0194fdc2-fa2f-7cc0-81d3-ff12045b73c8", "0194fdc2fa2f7cc081d3ff12045b73c8",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		id, err := ParseID(text)
		if err != nil {
			return
		}
		if again, err := ParseID(string(id)); err != nil || again != id || len(id) != 36 {
			t.Errorf("ParseID(%q) = %q, and that becomes %q, %v", text, id, again, err)
		}
	})
}

func TestNew(t *testing.T) {
	spec := validSpec()
	spec.Deadline = time.Minute
	j, transition := New("j", spec, epoch)
	if !j.DeadlineAt.Equal(epoch.Add(time.Minute)) || j.State != Queued || j.Intent != Run || j.Logs != LogsNone {
		t.Errorf("the record is %+v", j)
	}
	if transition.Type != "job.queued" || transition.Event != Submitted || transition.Namespace != "default" {
		t.Errorf("the transition is %+v", transition)
	}
	if !j.ExpiresAt().IsZero() {
		t.Error("a job that is not finished expires")
	}
	j, _, err := j.Apply(Event{Kind: Stopped, StopReason: ByCancel}, epoch.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if want := epoch.Add(time.Second + DefaultTTL); !j.ExpiresAt().Equal(want) {
		t.Errorf("expires at %v; want %v", j.ExpiresAt(), want)
	}
}

// TestRecordsSurviveStorage takes the records of random lives through JSON, as
// a store does.
func TestRecordsSurviveStorage(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		live(rt, eventKinds, func(_, after Job, _ Event, transition Transition) {
			assertStored(rt, after)
			assertStored(rt, transition)
		})
	})
}

func assertStored[T any](t *rapid.T, value T) {
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	var read T
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(value, read) {
		t.Fatalf("stored\n%+v and read\n%+v", value, read)
	}
}

// FuzzStoredRecords feeds a reader of records and transitions anything.
func FuzzStoredRecords(f *testing.F) {
	j, transition := New("j", validSpec(), epoch)
	placed, second, err := j.Apply(Event{Kind: Place, Region: "r", Decision: json.RawMessage(`{"region":"r"}`)}, epoch)
	if err != nil {
		f.Fatal(err)
	}
	for _, value := range []any{j, transition, placed, second, struct{}{}, nil} {
		seed, err := json.Marshal(value)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var j Job
		if json.Unmarshal(text, &j) == nil && j.State.Valid() {
			sameJSON(t, j)
			for _, kind := range eventKinds {
				if after, _, err := j.Apply(Event{Kind: kind, Region: "r"}, epoch); err == nil && !after.State.Valid() {
					t.Errorf("%s made the state %q", kind, after.State)
				}
			}
		}
		var transition Transition
		if json.Unmarshal(text, &transition) == nil {
			sameJSON(t, transition)
		}
	})
}
