package dynamodb

import (
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/gco-project/gco/internal/job"
)

// Attributes of items that are no keys.
const (
	attrMeta  = "meta"
	attrStamp = "stamp"
	attrBody  = "body"
	// attrKey is the hash of the idempotency key that made a job.
	attrKey = "made_by"
	// attrManifest is the hash of a job's manifest in the bucket.
	attrManifest = "manifest"
	// attrAwake says of a queued job that its NotBefore has passed.
	attrAwake = "awake"
	// attrLogs is what SetLogs said of attempt attrLogsOf. It stands above the
	// logs in the record.
	attrLogs   = "logs"
	attrLogsOf = "logs_of"
)

// record is a job as its item in table jobs holds it.
type record struct {
	job.Job
	stamp stamp
	// key is the hash of the idempotency key that made it; empty for none.
	key string
	// manifest is the hash of its manifest in the bucket; empty where an item
	// has it.
	manifest string
	// awake says that Wake has moved it to the waiting jobs.
	awake bool
	// shipped is what SetLogs said of an attempt; it is in Job.Logs already
	// where that is the current one.
	shipped   job.LogState
	shippedOf int
}

// backstop is how long after its time a record that nobody removed goes by
// itself.
const backstop = 30 * 24 * time.Hour

// recordItem returns what is stored of a record.
func (s *Store) recordItem(r *record) (item, error) {
	body, err := packJSON(&r.Job)
	if err != nil {
		return nil, fmt.Errorf("encoding job %s: %w", r.ID, err)
	}
	shard := shardOf(string(r.ID), s.shards.Index)
	i := item{
		attrJobID:       text(string(r.ID)),
		attrNamespace:   text(sharded(r.Spec.Namespace, shard)),
		attrStatus:      text(sharded(string(r.State), shard)),
		attrSubmittedAt: text(ageKey(r.ID)),
		attrBody:        body,
		attrStamp:       text(string(r.stamp)),
	}
	if r.key != "" {
		i[attrKey] = text(r.key)
	}
	if r.manifest != "" {
		i[attrManifest] = text(r.manifest)
	}
	if r.awake {
		i[attrAwake] = number(1)
	}
	if r.shipped != "" {
		i[attrLogs], i[attrLogsOf] = text(string(r.shipped)), number(int64(r.shippedOf))
	}
	if r.State.Terminal() {
		i[attrTTL] = number(r.ExpiresAt().Add(backstop).Unix())
	}
	return i, nil
}

// recordOf reads an item of table jobs.
func recordOf(i item) (*record, error) {
	r := &record{
		stamp: stamp(textOf(i, attrStamp)), key: textOf(i, attrKey), manifest: textOf(i, attrManifest), awake: has(i, attrAwake),
		shipped: job.LogState(textOf(i, attrLogs)), shippedOf: int(numberOf(i, attrLogsOf)),
	}
	if err := unpackJSON(i, attrBody, &r.Job); err != nil {
		return nil, fmt.Errorf("reading job %s: %w", textOf(i, attrJobID), err)
	}
	if r.shipped != "" && r.shippedOf == r.Attempt {
		r.Logs = r.shipped
	}
	return r, nil
}

// ageKey orders jobs by their IDs, and shows people when they came: the time
// in the ID, in UTC at fixed width, then the ID itself.
func ageKey(id job.ID) string {
	at := time.Time{}
	if parsed, err := uuid.Parse(string(id)); err == nil && parsed.Version() == 7 {
		at = timeOf(parsed)
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z") + "#" + string(id)
}

// timeOf is the first 48 bits of a UUID of version 7 (RFC 9562, 5.7), which
// are milliseconds since 1970.
func timeOf(id uuid.UUID) time.Time {
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms)
}

// The lists that jobs are in. What follows the first word is a class or a
// region.
const (
	listWaiting   = "waiting "
	listPlaced    = "placed "
	listClaimed   = "claimed "
	listHeld      = "held "
	listUnwanted  = "unwanted "
	listRegion    = "region "
	listAll       = "all"
	listLater     = "later"
	listSuspended = "suspended"
	listOverdue   = "overdue"
	listEnded     = "ended"
)

// rare tells of lists that few jobs come into: they have one partition.
func rare(list string) bool {
	return list == listSuspended || strings.HasPrefix(list, listUnwanted)
}

// place is one list that a job is in, and where it stands there.
type place struct {
	list string
	// sort is its place in the list's order.
	sort string
	// priority, since and away are there for lists that are read in another
	// order too.
	priority int
	since    int64
	away     bool
}

// places are the lists that a record is in.
func (r *record) places() []place {
	var all []place
	add := func(list, sort string) { all = append(all, place{list: list, sort: sort, priority: r.Spec.Priority}) }
	id, position := string(r.ID), positionKey(r.Spec.Priority, r.ID)
	switch {
	case r.State == job.Placed:
		add(listPlaced+r.Region, position)
		all[0].since = r.PlacedAt.UnixNano()
	case r.State.Active():
		list := listHeld
		if r.State == job.Claimed {
			list = listClaimed
		}
		add(list+r.Region, id)
		all[0].away = !r.RegionLostAt.IsZero()
		if r.Intent != job.Run {
			add(listUnwanted+r.Region, id)
		}
		if end := r.WaitEndsAt(); !end.IsZero() {
			add(listSuspended, timeKey(end)+"#"+id)
		}
	case r.State.Terminal():
		add(listEnded, timeKey(r.ExpiresAt())+"#"+id)
	case r.later():
		add(listLater, timeKey(r.NotBefore)+"#"+id)
	default:
		add(listWaiting+string(r.Spec.Class), position)
	}
	if !r.State.Terminal() && r.Intent != job.Stop && !r.DeadlineAt.IsZero() {
		add(listOverdue, timeKey(r.DeadlineAt)+"#"+id)
	}
	if r.Region != "" {
		add(listRegion+r.Region, id)
	}
	add(listAll, id)
	return all
}

// later tells whether a queued job may not be placed yet. Whether NotBefore
// has passed is decided by the time of the transition; later it is Wake that
// moves the job on.
func (r *record) later() bool { return r.NotBefore.After(r.UpdatedAt) && !r.awake }

// positionKey orders by priority, the highest first, then by ID.
func positionKey(priority int, id job.ID) string {
	return fmt.Sprintf("%010d#%s", 1<<31-int64(priority), id)
}

// timeKey orders by time.
func timeKey(at time.Time) string { return fmt.Sprintf("%019d", max(0, at.UnixNano())) }

// afterAll follows every key that begins with the same prefix.
const afterAll = "\U0010ffff"

// hashOf is a short name for something long.
func hashOf(sum []byte) string { return hex.EncodeToString(sum) }
