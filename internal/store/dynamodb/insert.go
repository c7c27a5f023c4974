package dynamodb

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

const (
	skKey = "key"

	attrHash = "hash"
	attrJob  = "job"
	attrAt   = "at"
	// attrUntil is when the key of a job that was removed may be used again.
	attrUntil = "until"
)

// keyHash names an idempotency key.
func keyHash(k *store.IdempotencyKey) string {
	sum := sha256.Sum256([]byte(mustText([]string{k.Identity, k.Namespace, k.Key})))
	return hashOf(sum[:])
}

func keyKey(hash string) item { return at(key(kindKey, hash), skKey) }

// Insert writes each submission by itself.
func (s *Store) Insert(ctx context.Context, submissions []store.Submission) ([]store.Inserted, error) {
	if err := ctx.Err(); err != nil || len(submissions) == 0 {
		return nil, err
	}
	answers := make([]store.Inserted, len(submissions))
	s.insertAll(ctx, submissions, answers)
	failed := 0
	for i := range answers {
		answers[i].Err = wrap(answers[i].Err, "inserting job %s", submissions[i].Job.ID)
		if answers[i].Err != nil && !isDecision(answers[i].Err) {
			failed++
		}
	}
	if failed == len(answers) && !errors.Is(answers[0].Err, store.ErrUnknown) {
		return nil, answers[0].Err
	}
	return answers, nil
}

// insertAll inserts what may go side by side; those with the same key, or that
// must be counted, one after the other.
func (s *Store) insertAll(ctx context.Context, submissions []store.Submission, answers []store.Inserted) {
	var plain []int
	var again []int
	keys := map[string]bool{}
	counted := map[string][]int{}
	for i := range submissions {
		sub := &submissions[i]
		hash := ""
		if sub.Key != nil {
			hash = keyHash(sub.Key)
		}
		switch {
		case hash != "" && keys[hash]:
			again = append(again, i)
		case sub.MaxQueued > 0 && s.nearlyFull(ctx, sub):
			counted[sub.Job.Spec.Namespace] = append(counted[sub.Job.Spec.Namespace], i)
		default:
			plain = append(plain, i)
		}
		keys[hash] = hash != ""
	}
	s.insertSome(ctx, submissions, answers, plain)
	for _, some := range counted {
		s.insertCounted(ctx, submissions, answers, some)
	}
	for _, i := range again {
		s.insertAll(ctx, submissions[i:i+1], answers[i:i+1])
	}
}

// insertSome writes submissions in as few transactions as they fit into.
func (s *Store) insertSome(ctx context.Context, submissions []store.Submission, answers []store.Inserted, which []int) {
	units := make([]unit, 0, len(which))
	var written []int
	for _, i := range which {
		u, err := s.insertion(ctx, &submissions[i], &answers[i])
		if err != nil {
			answers[i].Err = err
			continue
		}
		units, written = append(units, u), append(written, i)
	}
	var replays []int
	for n, err := range s.transact(ctx, nil, units) {
		i := written[n]
		switch {
		case err == nil && answers[i].Job.ID == "":
			answers[i].Job, answers[i].Created = submissions[i].Job, true
		case errors.Is(err, errReplay):
			replays = append(replays, i)
		default:
			answers[i].Err = err
		}
	}
	s.replay(ctx, answers, replays)
}

// errReplay says that the key has made a job before.
var errReplay = errors.New("the key was used before")

// insertion is the one write of a submission.
func (s *Store) insertion(ctx context.Context, sub *store.Submission, answer *store.Inserted) (unit, error) {
	if err := s.sayClass(ctx, sub.Job.Spec.Class, classDemand{sub.Demand, sub.Job.Spec.Placement}); err != nil {
		return unit{}, err
	}
	r := &record{Job: sub.Job, stamp: s.stamps.next("")}
	if sub.Key != nil {
		r.key = keyHash(sub.Key)
	}
	manifest, err := s.keepManifest(ctx, r, sub.Manifest)
	if err != nil {
		return unit{}, err
	}
	recordItem, err := s.recordItem(r)
	if err != nil {
		return unit{}, err
	}
	data, err := json.Marshal(&sub.Transition)
	if err != nil {
		return unit{}, fmt.Errorf("encoding a transition: %w", err)
	}
	e := jobEntry(nil, r, &sub.Transition)
	u := unit{actions: []types.TransactWriteItem{
		s.putAction(TableJobs, recordItem, "attribute_not_exists(job_id)", nil),
		s.eventAction(&e, data),
		s.tailAction(e),
	}}
	u.actions = append(u.actions, s.moveActions(nil, r)...)
	if sub.Key != nil {
		k := with(keyKey(r.key), item{
			attrHash: text(sub.Key.BodyHash), attrJob: text(string(r.ID)), attrAt: number(sub.Job.SubmittedAt.UnixNano()),
		})
		u.actions = append(u.actions, s.putAction(TableState, k, "attribute_not_exists(pk) OR #until <= :now", item{":now": number(sub.Job.SubmittedAt.UnixNano())}))
		u.actions[len(u.actions)-1].Put.ExpressionAttributeNames = map[string]string{"#until": attrUntil}
	}
	manifestAt := len(u.actions)
	u.actions = append(u.actions, manifest...)
	u.refused = func(action int, found item) error {
		switch {
		case action >= manifestAt:
			return fmt.Errorf("%w: the manifest waited too long in the bucket", store.ErrUnavailable)
		case action == 0 && textOf(found, attrStamp) == string(r.stamp), action > 0 && textOf(found, attrJob) == string(r.ID):
			return nil
		case action == 0:
			return fmt.Errorf("%w: there is such a job", store.ErrConflict)
		case textOf(found, attrHash) != sub.Key.BodyHash:
			return store.ErrKeyReused
		case has(found, attrBody):
			if err := unpackJSON(found, attrBody, &answer.Job); err != nil {
				return err
			}
			return nil
		}
		answer.Job.ID = job.ID(textOf(found, attrJob))
		return errReplay
	}
	return u, nil
}

// replay answers with the jobs that the keys have made.
func (s *Store) replay(ctx context.Context, answers []store.Inserted, which []int) {
	for _, i := range which {
		r, err := s.record(ctx, answers[i].Job.ID)
		switch {
		case err == nil:
			answers[i] = store.Inserted{Job: r.Job}
		case errors.Is(err, store.ErrNotFound):
			// Removed in this moment: its key has the record now, or is gone.
			answers[i] = store.Inserted{Err: fmt.Errorf("%w: the job of this key is being removed", store.ErrUnavailable)}
		default:
			answers[i] = store.Inserted{Err: err}
		}
	}
}

// rooms knows how full namespaces are.
type rooms struct {
	mu   sync.Mutex
	held map[string]*room
}

// room is one namespace.
type room struct {
	// one lets one submission after the other be counted.
	one sync.Mutex

	mu     sync.Mutex
	count  int64
	seenAt time.Time
}

const (
	// margin is how near to its bound a namespace is counted exactly: more
	// than what all servers take within lookEvery.
	margin    = 10_000
	lookEvery = time.Second
)

func (r *rooms) of(namespace string) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = map[string]*room{}
	}
	if r.held[namespace] == nil {
		r.held[namespace] = &room{}
	}
	return r.held[namespace]
}

// nearlyFull tells whether a submission must be counted. Far from the bound a
// count that is a second old will do, with what came since.
func (s *Store) nearlyFull(ctx context.Context, sub *store.Submission) bool {
	r := s.rooms.of(sub.Job.Spec.Namespace)
	r.mu.Lock()
	defer r.mu.Unlock()
	if sub.MaxQueued <= margin {
		return true
	}
	if s.now().Sub(r.seenAt) >= lookEvery {
		v, err := s.log.fresh(ctx)
		if err != nil {
			return true
		}
		r.count, r.seenAt = v.waiting(sub.Job.Spec.Namespace), s.now()
	}
	r.count++
	return r.count+margin > sub.MaxQueued
}

const attrCounted = "counted"

func roomKey(namespace string) item { return at(pkRoom, namespace) }

// insertCounted writes submissions of one namespace, one after the other, as
// long as there is room. Each moves on a number that is read before the count:
// so what was counted is all there is.
func (s *Store) insertCounted(ctx context.Context, submissions []store.Submission, answers []store.Inserted, which []int) {
	namespace := submissions[which[0]].Job.Spec.Namespace
	r := s.rooms.of(namespace)
	r.one.Lock()
	defer r.one.Unlock()
	for len(which) > 0 {
		done, err := s.insertWhileRoom(ctx, namespace, submissions, answers, which)
		which = which[done:]
		if errors.Is(err, errMet) && ctx.Err() == nil {
			continue
		}
		for _, i := range which {
			answers[i] = store.Inserted{Err: err}
		}
		return
	}
}

// insertWhileRoom returns how many were decided. errMet says that someone else
// was counting too.
func (s *Store) insertWhileRoom(ctx context.Context, namespace string, submissions []store.Submission, answers []store.Inserted, which []int) (done int, err error) {
	found, err := s.get(ctx, TableState, roomKey(namespace))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, err
	}
	counted := numberOf(found, attrCounted)
	v, err := s.log.fresh(ctx)
	if err != nil {
		return 0, err
	}
	count := v.waiting(namespace)
	for n, i := range which {
		sub := &submissions[i]
		if count >= sub.MaxQueued {
			if answers[i], err = s.full(ctx, sub); err != nil {
				return n, err
			}
			continue
		}
		u, err := s.insertion(ctx, sub, &answers[i])
		if err != nil {
			answers[i].Err = err
			continue
		}
		err = s.transactOne(ctx, s.countedUnit(u, namespace, counted))
		switch {
		case errors.Is(err, errMet):
			return n, err
		case err == nil && answers[i].Job.ID == "":
			answers[i].Job, answers[i].Created = sub.Job, true
			counted++
			count++
		case errors.Is(err, errReplay):
			s.replay(ctx, answers, []int{i})
		default:
			answers[i].Err = err
		}
	}
	return len(which), nil
}

// countedUnit is a unit that moves a namespace's number on.
func (s *Store) countedUnit(u unit, namespace string, counted int64) unit {
	move := s.updateAction(update{
		table: TableState, key: roomKey(namespace), expression: "SET #n = :next", condition: "attribute_not_exists(#n) OR #n = :n",
		names: map[string]string{"#n": attrCounted}, values: item{":n": number(counted), ":next": number(counted + 1)},
	})
	if counted > 0 {
		condition := "#n = :n"
		move.Update.ConditionExpression = &condition
	}
	refused := u.refused
	last := len(u.actions)
	return unit{
		actions: append(slices.Clone(u.actions), move),
		refused: func(action int, found item) error {
			if action == last {
				return fmt.Errorf("%w: %w", store.ErrUnavailable, errMet)
			}
			return refused(action, found)
		},
	}
}

// full answers a submission for which there is no room: a replay is not one
// job more, and misuse is misuse.
func (s *Store) full(ctx context.Context, sub *store.Submission) (store.Inserted, error) {
	if sub.Key != nil {
		made, found, err := s.madeBy(ctx, sub.Key, sub.Job.SubmittedAt)
		if err != nil && !isDecision(err) {
			return store.Inserted{}, err
		}
		if found {
			return store.Inserted{Job: made, Err: err}, nil
		}
	}
	return store.Inserted{
		Err: fmt.Errorf("%w: namespace %s may have %d jobs waiting", store.ErrNamespaceFull, sub.Job.Spec.Namespace, sub.MaxQueued),
	}, nil
}

// MadeBy returns the job that a key has made.
func (s *Store) MadeBy(ctx context.Context, key store.IdempotencyKey) (job.Job, error) {
	made, found, err := s.madeBy(ctx, &key, s.now())
	if err == nil && !found {
		err = store.ErrNotFound
	}
	return made, wrap(err, "reading the job of a key")
}

// madeBy returns the job that a key has made.
func (s *Store) madeBy(ctx context.Context, k *store.IdempotencyKey, now time.Time) (made job.Job, found bool, err error) {
	i, err := s.get(ctx, TableState, keyKey(keyHash(k)))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return made, false, nil
	case err != nil:
		return made, false, err
	case has(i, attrUntil) && numberOf(i, attrUntil) <= now.UnixNano():
		return made, false, nil
	case textOf(i, attrHash) != k.BodyHash:
		return made, true, store.ErrKeyReused
	case has(i, attrBody):
		return made, true, unpackJSON(i, attrBody, &made)
	}
	r, err := s.record(ctx, job.ID(textOf(i, attrJob)))
	if err != nil {
		return made, false, err
	}
	return r.Job, true, nil
}
