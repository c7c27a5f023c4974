package cost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/gco-project/gco/internal/store/dynamodb"
)

// Meter is a transport that keeps what the requests of each step cost. It lets
// one write through at a time, since it reads items before and after.
type Meter struct {
	project string
	under   http.RoundTripper

	mu    sync.Mutex
	step  string
	steps map[string]*Step
}

// Step is what the requests between two calls of [Meter.Begin] cost.
type Step struct {
	// Uses are by our own rules, Reported as the engine says: by table, and
	// by table and index as "table/index".
	Uses     []Use
	Reported map[string]Units
	// Requests counts them by operation.
	Requests map[string]int
}

// Units are capacity units.
type Units struct{ Write, Read float64 }

// NewMeter measures requests to the tables of a project.
func NewMeter(project string, under http.RoundTripper) *Meter {
	m := &Meter{project: project, under: under, steps: map[string]*Step{}}
	m.Begin("")
	return m
}

// Begin makes what follows a step of this name.
func (m *Meter) Begin(step string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.step = step
	if m.steps[step] == nil {
		m.steps[step] = &Step{Reported: map[string]Units{}, Requests: map[string]int{}}
	}
}

// Step returns what a step has cost so far.
func (m *Meter) Step(name string) Step {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.steps[name]; s != nil {
		return Step{Uses: slices.Clone(s.Uses), Reported: maps.Clone(s.Reported), Requests: maps.Clone(s.Requests)}
	}
	return Step{}
}

// Total adds up a step's uses by table, and for indexes by "table/index".
func (s Step) Total() map[string]Units {
	total := map[string]Units{}
	for _, use := range s.Uses {
		name := use.Table
		if use.Index != "" {
			name += "/" + use.Index
		}
		units := total[name]
		total[name] = Units{units.Write + use.Write, units.Read + use.Read}
	}
	return total
}

// request is the body of every operation that the driver uses, as far as it
// matters here.
type request struct {
	TableName      string
	IndexName      string
	ConsistentRead bool
	Key, Item      Item
	TransactItems  []map[string]struct {
		TableName string
		Key, Item Item
	}
	RequestItems json.RawMessage
}

// action is one item that a request writes or checks.
type action struct {
	table         dynamodb.Table
	name          string
	key           Item
	write         bool
	before, after Item
}

// RoundTrip sends a request on, and adds up what it costs.
func (m *Meter) RoundTrip(r *http.Request) (*http.Response, error) {
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.steps[m.step].Requests[operation]++
	if !slices.Contains(measured, operation) {
		return m.send(r, operation, body)
	}
	var asked request
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, fmt.Errorf("measuring %s: %w", operation, err)
	}
	actions := m.actions(operation, asked)
	for i := range actions {
		if actions[i].before, err = m.read(r, actions[i]); err != nil {
			return nil, err
		}
	}
	response, err := m.send(r, operation, withReport(body))
	if err != nil || response.StatusCode != http.StatusOK {
		return response, err
	}
	for i := range actions {
		if actions[i].after, err = m.read(r, actions[i]); err != nil {
			return nil, err
		}
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	m.add(operation, asked, actions, answer)
	return response, nil
}

// measured are the operations that cost units.
var measured = []string{"GetItem", "BatchGetItem", "Query", "Scan", "PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems", "TransactGetItems"}

func withReport(body []byte) []byte {
	return append([]byte(`{"ReturnConsumedCapacity":"INDEXES",`), bytes.TrimLeft(body, "{ \n")...)
}

func (m *Meter) send(r *http.Request, operation string, body []byte) (*http.Response, error) {
	again := r.Clone(r.Context())
	again.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	again.Body, again.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	again.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return m.under.RoundTrip(again)
}

// read returns an item as it is now, outside of the measure.
func (m *Meter) read(r *http.Request, a action) (Item, error) {
	body, err := json.Marshal(map[string]any{"TableName": a.name, "Key": a.key, "ConsistentRead": true})
	if err != nil {
		return nil, err
	}
	response, err := m.send(r, "GetItem", body)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var answer struct{ Item Item }
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("measuring: reading an item of %s: %s: %w", a.name, response.Status, err)
	}
	return answer.Item, nil
}

// tableOf finds a table by its name in the account.
func (m *Meter) tableOf(name string) dynamodb.Table {
	short := strings.TrimPrefix(name, m.project+"-")
	i := slices.IndexFunc(dynamodb.Tables, func(t dynamodb.Table) bool { return t.Name == short })
	if i < 0 {
		panic("cost: no table is called " + name)
	}
	return dynamodb.Tables[i]
}

func (m *Meter) action(name string, key, item Item, write bool) action {
	a := action{table: m.tableOf(name), name: name, key: key, write: write}
	if item != nil {
		a.key = Item{a.table.PartitionKey: item[a.table.PartitionKey]}
		if a.table.SortKey != "" {
			a.key[a.table.SortKey] = item[a.table.SortKey]
		}
	}
	return a
}

// actions are the writes and checks of a request.
func (m *Meter) actions(operation string, asked request) []action {
	var all []action
	switch operation {
	case "PutItem", "UpdateItem", "DeleteItem":
		all = append(all, m.action(asked.TableName, asked.Key, asked.Item, true))
	case "TransactWriteItems":
		for _, one := range asked.TransactItems {
			for kind, what := range one {
				all = append(all, m.action(what.TableName, what.Key, what.Item, kind != "ConditionCheck"))
			}
		}
	case "BatchWriteItem":
		for table, writes := range decode[map[string][]map[string]struct{ Key, Item Item }](asked.RequestItems) {
			for _, one := range writes {
				for _, what := range one {
					all = append(all, m.action(table, what.Key, what.Item, true))
				}
			}
		}
	}
	return all
}

// add works out what a request cost that went well.
func (m *Meter) add(operation string, asked request, actions []action, answer []byte) {
	step := m.steps[m.step]
	for _, a := range actions {
		if a.write {
			step.Uses = append(step.Uses, Write(a.table, a.before, a.after, operation == "TransactWriteItems")...)
		} else {
			step.Uses = append(step.Uses, check(a.table, a.key[a.table.PartitionKey].text(), a.before))
		}
	}
	step.Uses = append(step.Uses, m.readUses(operation, asked, answer)...)
	for name, units := range m.reported(answer, len(actions) > 0) {
		sum := step.Reported[name]
		step.Reported[name] = Units{sum.Write + units.Write, sum.Read + units.Read}
	}
}

// readUses are those of a request that reads. A page of a query counts as one
// piece; the items of a batch count one by one.
func (m *Meter) readUses(operation string, asked request, answer []byte) []Use {
	var found struct {
		Item      Item
		Items     []Item
		Responses json.RawMessage
	}
	if err := json.Unmarshal(answer, &found); err != nil {
		panic("cost: an answer that is no JSON: " + err.Error())
	}
	switch operation {
	case "GetItem":
		table := m.tableOf(asked.TableName)
		return []Use{{Table: table.Name, Key: keyIn(asked.Key, table.PartitionKey), Read: reads(found.Item.Size(), asked.ConsistentRead)}}
	case "Query", "Scan":
		size := 0
		for _, item := range found.Items {
			size += item.Size()
		}
		return []Use{{Table: m.tableOf(asked.TableName).Name, Index: asked.IndexName, Read: reads(size, asked.ConsistentRead)}}
	case "BatchGetItem":
		var uses []Use
		wanted := decode[map[string]struct {
			Keys           []Item
			ConsistentRead bool
		}](asked.RequestItems)
		got := decode[map[string][]Item](found.Responses)
		for name, one := range wanted {
			table := m.tableOf(name)
			sizes := map[string]int{}
			for _, item := range got[name] {
				sizes[keyIn(item, table.PartitionKey)+"\x00"+keyIn(item, table.SortKey)] = item.Size()
			}
			for _, key := range one.Keys {
				partition := keyIn(key, table.PartitionKey)
				size := sizes[partition+"\x00"+keyIn(key, table.SortKey)]
				uses = append(uses, Use{Table: table.Name, Key: partition, Read: reads(size, one.ConsistentRead)})
			}
		}
		return uses
	}
	return nil
}

// consumed is what an engine says that a request took of a table.
type consumed struct {
	TableName     string
	CapacityUnits float64
	Table         struct{ CapacityUnits float64 }
	Indexes       map[string]struct{ CapacityUnits float64 } `json:"GlobalSecondaryIndexes"`
}

// reported reads that, by table and by index.
func (m *Meter) reported(answer []byte, write bool) map[string]Units {
	var one struct{ ConsumedCapacity consumed }
	var many struct{ ConsumedCapacity []consumed }
	all := []consumed{}
	if err := json.Unmarshal(answer, &many); err == nil {
		all = many.ConsumedCapacity
	} else if err := json.Unmarshal(answer, &one); err == nil {
		all = append(all, one.ConsumedCapacity)
	}
	units := map[string]Units{}
	add := func(name string, n float64) {
		sum := units[name]
		if write {
			sum.Write += n
		} else {
			sum.Read += n
		}
		units[name] = sum
	}
	for _, c := range all {
		if c.TableName == "" {
			continue
		}
		// Some engines say where the table is, with its ARN.
		name := c.TableName[strings.LastIndexByte(c.TableName, '/')+1:]
		table, rest := m.tableOf(name).Name, c.CapacityUnits
		for index, of := range c.Indexes {
			add(table+"/"+index, of.CapacityUnits)
			rest -= of.CapacityUnits
		}
		add(table, rest)
	}
	return units
}
