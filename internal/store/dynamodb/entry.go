package dynamodb

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// entry is one line of the log: what happened, and all that the log's sum needs
// of it. Most are events; those without a Type are not.
type entry struct {
	Stamp     stamp     `json:"t"`
	Subject   string    `json:"s"`
	Number    int64     `json:"n,omitempty"`
	Type      string    `json:"y,omitempty"`
	Namespace string    `json:"ns,omitempty"`
	At        time.Time `json:"at,omitzero"`

	// Job is there where a job's state or place changed.
	Job *move `json:"j,omitempty"`
}

// move is what an entry changes of counters and lists.
type move struct {
	// From is empty for a submission, To for a removal.
	From job.State `json:"f,omitempty"`
	To   job.State `json:"o,omitempty"`
	// Before and Region are the regions of the two.
	Before    string         `json:"b,omitempty"`
	Region    string         `json:"r,omitempty"`
	Class     capacity.Class `json:"c"`
	Priority  int            `json:"p,omitempty"`
	Submitted time.Time      `json:"u,omitzero"`
	// Left and Entered are lists, those that the sum follows.
	Left    []string `json:"l,omitempty"`
	Entered []string `json:"e,omitempty"`
}

// followed tells of lists whose members the log counts.
func followed(list string) bool {
	return list == listLater || list == listSuspended || list == listOverdue ||
		strings.HasPrefix(list, listWaiting) || strings.HasPrefix(list, listPlaced)
}

// moveOf is what the way from one record to the other changes; nil is none.
func moveOf(before, after *record) *move {
	m := &move{}
	last := after
	if after == nil {
		last = before
	}
	m.Class, m.Priority, m.Submitted = last.Spec.Class, last.Spec.Priority, last.SubmittedAt
	from, to := map[string]bool{}, map[string]bool{}
	if before != nil {
		m.From, m.Before = before.State, before.Region
		for _, p := range before.places() {
			from[p.list] = true
		}
	}
	if after != nil {
		m.To, m.Region = after.State, after.Region
		for _, p := range after.places() {
			to[p.list] = true
			if followed(p.list) && !from[p.list] {
				m.Entered = append(m.Entered, p.list)
			}
		}
	}
	if before != nil {
		for _, p := range before.places() {
			if followed(p.list) && !to[p.list] {
				m.Left = append(m.Left, p.list)
			}
		}
	}
	return m
}

// jobEntry is the entry of a transition.
func jobEntry(before, after *record, t *job.Transition) entry {
	return entry{
		Stamp: after.stamp, Subject: store.JobSubject(after.ID), Number: t.Number, Type: t.Type,
		Namespace: t.Namespace, At: t.At, Job: moveOf(before, after),
	}
}

// event tells whether subscribers see the entry.
func (e *entry) event() bool { return e.Type != "" }

// tailKey is where an entry is until the log has it.
func (s *Store) tailKey(e *entry) item {
	return at(sharded(kindTail, shardOf(e.Subject, s.shards.Tail)), fmt.Sprintf("%s#%s#%d", e.Stamp, e.Subject, e.Number))
}

// tailAction writes an entry to the tail of the log.
func (s *Store) tailAction(e entry) types.TransactWriteItem {
	return s.putAction(TableEvents, with(s.tailKey(&e), item{attrBody: binary(pack([]byte(mustText(e))))}), "", nil)
}

// entryOf reads an item of the tail.
func entryOf(i item) (entry, error) {
	var e entry
	err := unpackJSON(i, attrBody, &e)
	return e, wrap(err, "reading the entry %s of the log", textOf(i, attrSK))
}

// eventKey is where the data of an event are.
func eventKey(subject string, number int64) item { return at(subject, fmt.Sprintf("%010d", number)) }

// Attributes of an event.
const (
	attrType = "event"
	attrSpan = "ns"
	// attrAfter is a page of the log that the event comes after.
	attrAfter = "after_page"
)

// eventAction writes an event beside the others of its subject.
func (s *Store) eventAction(e *entry, data []byte) types.TransactWriteItem {
	i := with(eventKey(e.Subject, e.Number), item{
		attrBody: binary(pack(data)), attrSince: number(e.At.UnixNano()), attrType: text(e.Type), attrAfter: number(s.log.reached.page()),
	})
	if e.Namespace != "" {
		i[attrSpan] = text(e.Namespace)
	}
	return s.putAction(TableEvents, i, "", nil)
}

// eventOf reads an event; its cursor is not in it.
func eventOf(i item) (store.Event, error) {
	data, err := unpack(bytesOf(i, attrBody))
	if err != nil {
		return store.Event{}, fmt.Errorf("reading event %s of %s: %w", textOf(i, attrSK), textOf(i, attrPK), err)
	}
	n, err := strconv.ParseInt(textOf(i, attrSK), 10, 64)
	if err != nil {
		return store.Event{}, fmt.Errorf("reading an event of %s: its number is %q", textOf(i, attrPK), textOf(i, attrSK))
	}
	subject := textOf(i, attrPK)
	return store.Event{
		ID: fmt.Sprintf("%s/%d", subject, n), Type: textOf(i, attrType), Subject: subject, Number: n,
		Namespace: textOf(i, attrSpan), At: time.Unix(0, numberOf(i, attrSince)).UTC(), Data: data,
	}, nil
}
