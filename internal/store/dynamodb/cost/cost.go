// Package cost says what the driver's requests cost in capacity units of
// DynamoDB, and how many jobs a second the partitions carry that follow.
//
// A [Meter] sits under the SDK, sees every request as it is sent, and works out
// its units by the published rules: item sizes, the writes of each index,
// double for transactions. Beside that it keeps what the engine itself says
// that a request consumed. [Ceiling] then simulates partitions.
//
// It serves tests only: they write docs/write-units.md and hold it to what the
// driver does. The rules are those of the DynamoDB developer guide,
// "DynamoDB read and write operations" and "DynamoDB item sizes and formats".
package cost

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/gco-project/gco/internal/store/dynamodb"
)

// Bytes of an item that one unit writes or reads.
const (
	writeUnit = 1024
	readUnit  = 4096
)

// Item is an item as it is on the wire: a value by its attribute.
type Item map[string]Value

// Value is a value as it is on the wire, such as {"S": "text"}.
type Value map[string]json.RawMessage

// Size is what an item counts for, in bytes.
func (i Item) Size() int {
	size := 0
	for name, value := range i {
		size += len(name) + value.size()
	}
	return size
}

// size is that of a value alone. A number takes a byte for two digits, and one
// more; a list or map three, and one more for each element.
func (v Value) size() int {
	const container, element = 3, 1
	for kind, raw := range v {
		switch kind {
		case "S":
			return len(textOf(raw))
		case "N":
			return numberSize(textOf(raw))
		case "B":
			return base64.StdEncoding.DecodedLen(len(textOf(raw))) - strings.Count(textOf(raw), "=")
		case "M":
			size := container
			for name, child := range decode[Item](raw) {
				size += element + len(name) + child.size()
			}
			return size
		case "L":
			size := container
			for _, child := range decode[[]Value](raw) {
				size += element + child.size()
			}
			return size
		case "SS", "NS", "BS":
			size := container
			for _, child := range decode[[]json.RawMessage](raw) {
				size += element + Value{kind[:1]: child}.size()
			}
			return size
		}
	}
	return 1 // BOOL and NULL
}

func numberSize(text string) int {
	digits := strings.TrimLeft(strings.NewReplacer("-", "", "+", "", ".", "").Replace(text), "0")
	digits = strings.TrimRight(digits, "0")
	return (len(digits)+1)/2 + 1
}

func textOf(raw json.RawMessage) string { return decode[string](raw) }

// decode reads what the SDK or an engine wrote.
func decode[T any](raw json.RawMessage) T {
	var value T
	if err := json.Unmarshal(raw, &value); err != nil {
		panic(fmt.Sprintf("cost: %q on the wire: %v", raw, err))
	}
	return value
}

// Use is what one request takes of one partition key.
type Use struct {
	Table string
	// Index is empty for the table itself.
	Index string
	// Key is the value of the partition key.
	Key string
	// Write and Read are in capacity units.
	Write, Read float64
}

// Write is what it takes to replace an item by another; nil is none. It is one
// use for the table, and one or two for each index that the item is in.
func Write(table dynamodb.Table, before, after Item, transaction bool) []Use {
	factor := 1.0
	if transaction {
		factor = 2
	}
	units := func(items ...Item) float64 {
		most := 1
		for _, item := range items {
			most = max(most, item.Size())
		}
		return factor * math.Ceil(float64(most)/writeUnit)
	}
	named := after
	if named == nil {
		named = before
	}
	uses := []Use{{Table: table.Name, Key: keyIn(named, table.PartitionKey), Write: units(before, after)}}
	for _, index := range table.Indexes {
		was, is := indexKey(index, before), indexKey(index, after)
		use := func(key []string, items ...Item) {
			uses = append(uses, Use{Table: table.Name, Index: index.Name, Key: key[0], Write: units(items...)})
		}
		switch {
		case was == nil && is == nil:
		case was == nil:
			use(is, after)
		case is == nil:
			use(was, before)
		case was[0] != is[0] || was[1] != is[1]:
			use(was, before)
			use(is, after)
		case !same(before, after):
			use(is, before, after)
		}
	}
	return uses
}

// check is what a condition on an item takes: as much as a write.
func check(table dynamodb.Table, key string, item Item) Use {
	return Use{Table: table.Name, Key: key, Write: 2 * math.Ceil(float64(max(1, item.Size()))/writeUnit)}
}

// reads is what reading some bytes takes.
func reads(size int, consistent bool) float64 {
	units := math.Ceil(float64(max(1, size)) / readUnit)
	if consistent {
		return units
	}
	return units / 2
}

// indexKey is an item's key in an index, and nil where the item is not in it.
func indexKey(index dynamodb.Index, item Item) []string {
	partition, in := item[index.PartitionKey]
	if !in {
		return nil
	}
	key := []string{partition.text(), ""}
	if index.SortKey != "" {
		sort, in := item[index.SortKey]
		if !in {
			return nil
		}
		key[1] = sort.text()
	}
	return key
}

func keyIn(item Item, attribute string) string { return item[attribute].text() }

func (v Value) text() string {
	if raw, ok := v["S"]; ok {
		return textOf(raw)
	}
	return ""
}

// same tells whether two items are, byte by byte.
func same(a, b Item) bool {
	first, err1 := json.Marshal(a)
	second, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(first, second)
}
