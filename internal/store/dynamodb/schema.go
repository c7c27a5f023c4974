// Package dynamodb is the production driver of store: tables of Amazon
// DynamoDB, and any number of processes on them. It owns the tables' layout,
// the log that puts every event in its place, and the treatment of throttling
// and of lost answers; what the records mean is the business of job and
// capacity. The queue and the server call it through the interfaces of store.
//
// This file is the one source of names, keys and indexes: infra/ makes the
// tables from it, Open compares it with what is there, and docs/dynamodb.md
// describes it for people. Why it looks like this, with figures, stands in
// docs/decisions/dynamodb-tables.md.
package dynamodb

import (
	"fmt"
	"hash/fnv"
	"strings"
)

// Table describes one table. All keys are strings, and every index projects
// all attributes.
type Table struct {
	// Name follows "{project}-".
	Name         string `json:"name"`
	PartitionKey string `json:"partitionKey"`
	// SortKey is empty where the partition key alone names an item.
	SortKey string `json:"sortKey,omitempty"`
	// TTL is the attribute with the end of an item's life in Unix seconds;
	// empty is none.
	TTL     string  `json:"ttl,omitempty"`
	Indexes []Index `json:"indexes,omitempty"`
	// Stack is the stack that makes the table.
	Stack Stack `json:"stack"`
}

// Index is a global secondary index.
type Index struct {
	Name         string `json:"name"`
	PartitionKey string `json:"partitionKey"`
	SortKey      string `json:"sortKey,omitempty"`
}

// Stack names one of the two stacks that make tables.
type Stack string

// The stacks.
const (
	// StackGlobal is {project}-global. Its tables, keys and indexes are given.
	StackGlobal Stack = "global"
	// StackState is {project}-state, with what the given tables have no place
	// for.
	StackState Stack = "state"
)

// The names of the tables, after "{project}-".
const (
	TableJobs      = "jobs"
	TableTemplates = "job-templates"
	TableWebhooks  = "webhooks"
	TableEndpoints = "inference-endpoints"
	// TableState has a small item for each place where a job can be found,
	// manifests, sessions, leases, tokens and idempotency keys.
	TableState = "state"
	// TableEvents has the history of every job, and the log.
	TableEvents = "events"
)

// Attributes that are keys.
const (
	attrPK  = "pk"
	attrSK  = "sk"
	attrTTL = "ttl"

	attrJobID       = "job_id"
	attrNamespace   = "namespace"
	attrStatus      = "status"
	attrRegion      = "target_region"
	attrSubmittedAt = "submitted_at"
	attrTemplate    = "template_name"
	attrWebhook     = "webhook_id"
	attrEndpoint    = "endpoint_name"
)

// The names of the indexes.
const (
	indexNamespace    = "namespace-index"
	indexStatus       = "status-index"
	indexRegionStatus = "region-status-index"
)

// Tables lists every table that the driver needs.
var Tables = []Table{
	{Name: TableTemplates, PartitionKey: attrTemplate, Stack: StackGlobal},
	{
		Name: TableWebhooks, PartitionKey: attrWebhook, Stack: StackGlobal,
		Indexes: []Index{{Name: indexNamespace, PartitionKey: attrNamespace}},
	},
	{
		Name: TableJobs, PartitionKey: attrJobID, TTL: attrTTL, Stack: StackGlobal,
		Indexes: []Index{
			{Name: indexRegionStatus, PartitionKey: attrRegion, SortKey: attrStatus},
			{Name: indexNamespace, PartitionKey: attrNamespace, SortKey: attrSubmittedAt},
			{Name: indexStatus, PartitionKey: attrStatus, SortKey: attrSubmittedAt},
		},
	},
	{Name: TableEndpoints, PartitionKey: attrEndpoint, Stack: StackGlobal},
	{Name: TableState, PartitionKey: attrPK, SortKey: attrSK, TTL: attrTTL, Stack: StackState},
	{Name: TableEvents, PartitionKey: attrPK, SortKey: attrSK, TTL: attrTTL, Stack: StackState},
}

// Shards says over how many partition keys each kind of write is spread. It is
// fixed when a store is first opened, and kept in it.
type Shards struct {
	// Index is the number of values that a namespace or a status has in the
	// indexes of the table of jobs.
	Index int `json:"index"`
	// List is the number of partitions of one list of jobs, such as those that
	// were placed in one region.
	List int `json:"list"`
	// Guard is the number of copies of a region's epoch that reports check.
	Guard int `json:"guard"`
	// Tail is the number of partitions of events that the log does not have
	// yet.
	Tail int `json:"tail"`
}

// DefaultShards carry 1,500 jobs a second in one region and 5,000 in total, as
// far as partitions go: docs/write-units.md has the sum.
var DefaultShards = Shards{Index: 64, List: 32, Guard: 16, Tail: 128}

// valid tells whether every number can be used.
func (s Shards) valid() bool {
	for _, n := range []int{s.Index, s.List, s.Guard, s.Tail} {
		if n < 1 || n > maxShards {
			return false
		}
	}
	return s.Guard <= maxGuards
}

// maxShards bounds the queries that one list takes; maxGuards keeps a region's
// guards within one transaction.
const (
	maxShards = 256
	maxGuards = 64
)

// shardOf spreads names over n shards.
func shardOf(name string, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return int(h.Sum32() % uint32(n))
}

// sharded is a key value with its shard, such as "running#07". What comes
// before the # has none itself: namespaces, states and regions are DNS labels.
func sharded(value string, shard int) string { return fmt.Sprintf("%s#%02d", value, shard) }

// The partition keys of table state. Where one takes a name, it is
// "kind#name"; lists of jobs end in "#shard".
const (
	pkMeta     = "meta"
	pkRegions  = "regions"
	pkSnapshot = "snapshots"
	pkLeases   = "leases"
	pkTokens   = "tokens"
	// pkRoom has an item for each namespace that was ever nearly full.
	pkRoom = "room"
	// pkLoose has the objects of the bucket that belong to no job.
	pkLoose = "loose"

	// kindList starts the keys of lists of jobs: list#placed us-east-1#07.
	kindList = "list"
	// kindGuard starts the keys of the copies of a region's epoch.
	kindGuard = "guard"
	// kindManifest has what was submitted with a job.
	kindManifest = "manifest"
	// kindKey has idempotency keys, by hash.
	kindKey = "key"
	// kindClass has what the jobs of a class demand.
	kindClass = "class"
	// kindTokenHash finds a token by its hash.
	kindTokenHash = "token"
)

// The partition keys of table events.
const (
	// kindJob and kindRegion have the events of one subject, by number: the
	// subject is its own partition key (job/ID, region/NAME).
	//
	// kindTail has what the log does not have yet, in the order of its stamps.
	kindTail = "tail"
	// pkLog has the head of the log, and where its last snapshot is.
	pkLog = "log"
	// kindPage has the pages of the log, by number.
	kindPage = "page"
	// kindView has the parts of snapshots of what the log adds up to.
	kindView = "view"
)

// key joins the parts of a key.
func key(parts ...string) string { return strings.Join(parts, "#") }
