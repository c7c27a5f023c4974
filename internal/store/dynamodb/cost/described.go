package cost

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/gco-project/gco/internal/store/dynamodb"
)

// describedBytes is a record of a job with its manifest, history and
// explanation in one item, as the described tables suggest.
const describedBytes = 2048

// describedStates are what a record says of its job, one after the other.
var describedStates = []string{"queued", "claimed", "pending", "running", "succeeded"}

// Described is what the life of one job takes of the given table of jobs alone,
// used as it is described: one item of 2 KB, its region and its state in the keys
// of the indexes, each state one write outside of transactions. Jobs fall
// evenly over the namespaces and regions.
func Described(namespaces, regions int) Life {
	i := slices.IndexFunc(dynamodb.Tables, func(t dynamodb.Table) bool { return t.Name == dynamodb.TableJobs })
	var uses [][]Use
	var before Item
	for _, state := range describedStates {
		after := describedItem(state)
		uses = append(uses, Write(dynamodb.Tables[i], before, after, false))
		before = after
	}
	return NewLife(describedStates, uses, 1, func(family string) int {
		switch {
		case strings.Contains(family, "namespace-index"):
			return namespaces
		case strings.Contains(family, "region-status-index"):
			return regions
		default:
			return 1
		}
	})
}

// describedItem is an item of the right size.
func describedItem(state string) Item {
	item := Item{}
	set := func(name, value string) {
		text, err := json.Marshal(value)
		if err != nil {
			panic("cost: " + err.Error())
		}
		item[name] = Value{"S": text}
	}
	set("job_id", "01999999-0000-7000-8000-000000000001")
	set("namespace", "default")
	set("target_region", "us-east-1")
	set("submitted_at", "2026-03-01T12:00:00.000Z")
	set("status", state)
	set("manifest", "")
	set("manifest", strings.Repeat("x", describedBytes-item.Size()))
	return item
}
