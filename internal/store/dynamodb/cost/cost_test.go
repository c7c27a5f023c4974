package cost_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/cost"
)

func item(t *testing.T, text string) cost.Item {
	t.Helper()
	var i cost.Item
	if err := json.Unmarshal([]byte(text), &i); err != nil {
		t.Fatal(err)
	}
	return i
}

// TestSizes holds the rules against examples that were added up by hand.
func TestSizes(t *testing.T) {
	tests := map[string]int{
		`{}`:                                         0,
		`{"a": {"S": ""}}`:                           1,
		`{"name": {"S": "gr` + "\u00fc" + `n"}}`:     4 + 5,
		`{"n": {"N": "7"}}`:                          1 + 2,
		`{"n": {"N": "-1234.5"}}`:                    1 + 4,
		`{"n": {"N": "1000000"}}`:                    1 + 2,
		`{"b": {"B": "aGVsbG8="}}`:                   1 + 5,
		`{"b": {"BOOL": true}, "z": {"NULL": true}}`: 2 + 2,
		`{"l": {"L": [{"S": "ab"}, {"N": "1"}]}}`:    1 + 3 + (1 + 2) + (1 + 2),
		`{"m": {"M": {"key": {"S": "ab"}}}}`:         1 + 3 + (1 + 3 + 2),
		`{"s": {"SS": ["a", "bc"]}}`:                 1 + 3 + (1 + 1) + (1 + 2),
	}
	for text, want := range tests {
		if got := item(t, text).Size(); got != want {
			t.Errorf("%s has %d bytes, want %d", text, got, want)
		}
	}
}

func table(name string) dynamodb.Table {
	return dynamodb.Tables[slices.IndexFunc(dynamodb.Tables, func(t dynamodb.Table) bool { return t.Name == name })]
}

// job is an item of table jobs of about so many bytes.
func jobItem(t *testing.T, status string, bytes int) cost.Item {
	return item(t, `{"job_id": {"S": "1"}, "namespace": {"S": "a"}, "submitted_at": {"S": "2026"}, "status": {"S": "`+status+`"}, "body": {"S": "`+strings.Repeat("x", bytes)+`"}}`)
}

func TestWrites(t *testing.T) {
	queued, active, large := jobItem(t, "queued", 100), jobItem(t, "active", 100), jobItem(t, "queued", 1500)
	changed := jobItem(t, "queued", 101)
	tests := []struct {
		name          string
		before, after cost.Item
		transaction   bool
		want          map[string]float64
	}{
		{"new", nil, queued, false, map[string]float64{"": 1, "namespace-index": 1, "status-index": 1}},
		{"new, in a transaction", nil, queued, true, map[string]float64{"": 2, "namespace-index": 2, "status-index": 2}},
		{"gone", large, nil, false, map[string]float64{"": 2, "namespace-index": 2, "status-index": 2}},
		{"as it was", queued, queued, false, map[string]float64{"": 1}},
		{"changed", queued, changed, false, map[string]float64{"": 1, "namespace-index": 1, "status-index": 1}},
		{"another key of an index", queued, active, false, map[string]float64{"": 1, "namespace-index": 1, "status-index": 2}},
		{"larger", queued, large, false, map[string]float64{"": 2, "namespace-index": 2, "status-index": 2}},
		{"smaller", large, queued, false, map[string]float64{"": 2, "namespace-index": 2, "status-index": 2}},
		{"nothing", nil, nil, false, map[string]float64{"": 1}},
	}
	for _, test := range tests {
		got := map[string]float64{}
		for _, use := range cost.Write(table(dynamodb.TableJobs), test.before, test.after, test.transaction) {
			got[use.Index] += use.Write
		}
		if !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// one is a life with one request of one family.
func one(keys int, takes ...float64) cost.Life {
	l := cost.Life{Families: []cost.Family{{Name: "f", Keys: keys}}}
	for _, units := range takes {
		l.Requests = append(l.Requests, cost.Request{Takes: []cost.Take{{Family: 0, Units: units}}})
	}
	return l
}

// TestPartitions: where the sum is known.
func TestPartitions(t *testing.T) {
	for name, test := range map[string]struct {
		life cost.Life
		want float64
	}{
		"one key": {one(1, 2, 2, 1), 200},
		"16 keys": {one(16, 2), 8000},
		"a hot index holds up its table": {cost.Life{
			Families: []cost.Family{{Name: "table", Keys: 1000}, {Name: "index", Keys: 1}},
			Requests: []cost.Request{{Takes: []cost.Take{{0, 1}, {1, 10}}}},
		}, 100},
		// The described design, by hand: 2 + 4 * 4 units in a region's key.
		"a described region":    {cost.Described(1, 1), 1000.0 / 18},
		"a described namespace": {cost.Described(1, 100), 1000.0 / 10},
		"described, all spread": {cost.Described(100, 100), 1000.0 / 4},
	} {
		if got := (cost.Partitions{Life: test.life, Seconds: 60, Seed: 1}).Ceiling(); got < test.want*0.93 || got > test.want*1.03 {
			t.Errorf("%s: %.0f jobs a second, want about %.0f", name, got, test.want)
		}
	}
	// Above its ceiling a key serves what it can, and throttles the others.
	over := cost.Partitions{Life: one(1, 2, 2, 1), Seconds: 60, Seed: 1}.Run(400)
	if over.Completed > 205 || over.Throttled < 1 {
		t.Errorf("at twice the ceiling: %+v", over)
	}
	if calm := (cost.Partitions{Life: one(1, 2, 2, 1), Seconds: 60, Seed: 1}).Run(100); calm.Completed < 99 || calm.Throttled != 0 {
		t.Errorf("at half the ceiling: %+v", calm)
	}
}

// TestNewLife: keys of one job are nobody else's, shards are one family, and
// what is shared is spread.
func TestNewLife(t *testing.T) {
	uses := [][]cost.Use{{
		{Table: "state", Key: "list#placed us-east-1#03", Write: 2},
		{Table: "state", Key: "list#placed us-east-1#11", Write: 2},
		{Table: "jobs", Key: "01999999-0000-7000-8000-0000000000ab", Write: 2},
	}, {
		{Table: "jobs", Index: "status-index", Key: "running#127", Write: 2},
		{Table: "events", Key: "log", Write: 2},
		{Table: "events", Key: "log", Read: 1},
	}}
	l := cost.NewLife([]string{"place", "claim"}, uses, 2, func(string) int { return 4 })
	got := map[string]float64{}
	for _, r := range l.Requests {
		for _, take := range r.Takes {
			got[r.Name+": "+l.Families[take.Family].Name] += take.Units
		}
	}
	want := map[string]float64{"place: state list#placed us-east-1#*": 2, "claim: jobs/status-index running#*": 1, "claim: events log": 1}
	if !maps.Equal(got, want) {
		t.Errorf("life %v, want %v", got, want)
	}
}
