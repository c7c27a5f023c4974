package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// insertStep is how many submissions share a turn of the writer.
const insertStep = 100

// submission is a store.Submission as it goes into the database. It is a copy:
// the writer may still be at work when a cancelled call has returned.
type submission struct {
	job                           job.Job
	transition                    job.Transition
	demand                        capacity.Demand
	key                           *store.IdempotencyKey
	maxQueued                     int64
	manifest, spec, status, event string
}

func encodeSubmission(s *store.Submission) (*submission, error) {
	e := &submission{
		job: s.Job, transition: s.Transition, demand: s.Demand, maxQueued: s.MaxQueued, manifest: string(s.Manifest),
	}
	if s.Key != nil {
		key := *s.Key
		e.key = &key
	}
	spec, err := json.Marshal(&s.Job.Spec)
	if err != nil {
		return nil, fmt.Errorf("encoding job %s: %w", s.Job.ID, err)
	}
	event, err := json.Marshal(&s.Transition)
	if err != nil {
		return nil, fmt.Errorf("encoding job %s: %w", s.Job.ID, err)
	}
	e.spec, e.status, e.event = string(spec), encodeStatus(&s.Job), string(event)
	return e, nil
}

// Insert writes each submission by itself.
func (s *Store) Insert(ctx context.Context, submissions []store.Submission) ([]store.Inserted, error) {
	if len(submissions) == 0 {
		return nil, ctx.Err()
	}
	var runs []func(*tx) error
	answers := make([][]store.Inserted, (len(submissions)+insertStep-1)/insertStep)
	for step := range answers {
		begin := step * insertStep
		encoded := make([]*submission, 0, insertStep)
		for i := begin; i < min(begin+insertStep, len(submissions)); i++ {
			e, err := encodeSubmission(&submissions[i])
			if err != nil {
				return nil, err
			}
			encoded = append(encoded, e)
		}
		runs = append(runs, func(t *tx) (err error) {
			answers[step], err = t.insertAll(encoded)
			return err
		})
	}
	errs := s.writer.doAll(ctx, runs)
	all := make([]store.Inserted, 0, len(submissions))
	failed := 0
	for step, err := range errs {
		if err == nil {
			all = append(all, answers[step]...)
			continue
		}
		failed++
		for i := step * insertStep; i < min((step+1)*insertStep, len(submissions)); i++ {
			all = append(all, store.Inserted{Err: wrap(err, "inserting job %s", submissions[i].Job.ID)})
		}
	}
	if failed == len(errs) {
		return nil, wrap(errs[0], "inserting jobs")
	}
	return all, nil
}

func (t *tx) insertAll(submissions []*submission) ([]store.Inserted, error) {
	answers := make([]store.Inserted, len(submissions))
	for i, s := range submissions {
		inserted, err := t.insert(s)
		if err != nil && !isDecision(err) {
			return nil, err
		}
		inserted.Err = wrap(err, "inserting job %s", s.job.ID)
		answers[i] = inserted
	}
	return answers, nil
}

const (
	jobColumns = `seq, id, namespace, class, state, version, region, status, spec,
		rank, submitted_at, stage, stage_at, queue, lane, unwanted, overdue_at`
	submissionColumns = `job, manifest, identity, namespace, key`
	columnsOfEvents   = `seq, subject, number, type, namespace, at, data`
)

var (
	stInsertKey = statement(`INSERT INTO keys (identity, namespace, key, hash, job, at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`)
	stDropKey   = statement(`DELETE FROM keys WHERE identity = ? AND namespace = ? AND key = ?`)
	stKey       = statement(`SELECT hash, coalesce(job, 0), coalesce(record, '') FROM keys WHERE identity = ? AND namespace = ? AND key = ?`)
	stInsertJob = statement(insertText("jobs", jobColumns, parameters(jobColumns), 1) + ` ON CONFLICT DO NOTHING`)

	submissionTable = bulkInsert("submissions", submissionColumns, parameters(submissionColumns))
	eventTable      = bulkInsert("events", columnsOfEvents, parameters(columnsOfEvents))
	// A change knows its job by ID only.
	changeTable = bulkInsert("events", columnsOfEvents, "(?, (SELECT seq FROM jobs WHERE id = ?), ?, ?, ?, ?, ?)")
)

// insert writes one submission, or decides not to.
func (t *tx) insert(s *submission) (store.Inserted, error) {
	namespace := s.job.Spec.Namespace
	full := s.maxQueued > 0 && t.known.queued[namespace]+t.queued[namespace] >= s.maxQueued
	if s.key != nil {
		if made, found, err := t.claimKey(s, full); err != nil || found {
			return made, err
		}
	}
	if full {
		return store.Inserted{}, fmt.Errorf("%w: namespace %s may have %d jobs waiting", store.ErrNamespaceFull, namespace, s.maxQueued)
	}
	class, err := t.class(s)
	if err != nil {
		return store.Inserted{}, err
	}
	seq := t.lastJob + 1
	inserted, err := t.insertJob(seq, class, s)
	if err != nil {
		return store.Inserted{}, err
	}
	if !inserted {
		t.references[class] += 0
		if s.key != nil {
			if _, err := t.exec(stDropKey, s.key.Identity, s.key.Namespace, s.key.Key); err != nil {
				return store.Inserted{}, err
			}
		}
		return store.Inserted{}, fmt.Errorf("%w: there is such a job", store.ErrConflict)
	}
	if err := t.insertRest(seq, s); err != nil {
		return store.Inserted{}, err
	}
	t.lastJob = seq
	t.references[class]++
	t.count(countKey{namespace, s.job.Region, s.job.State}, class, 1)
	if keysOf(&s.job, class).stage == stageWaiting {
		t.addWaiting(class, rankOf(s.job.Spec.Priority), s.job.ID, instant(s.job.SubmittedAt))
	}
	return store.Inserted{Job: s.job, Created: true}, nil
}

// claimKey takes the submission's key, or finds what it made before. It takes
// nothing when the namespace is full.
func (t *tx) claimKey(s *submission, full bool) (store.Inserted, bool, error) {
	k := s.key
	if !full {
		taken, err := t.exec(stInsertKey, k.Identity, k.Namespace, k.Key, k.BodyHash, t.lastJob+1, instant(s.job.SubmittedAt))
		if err != nil || taken == 1 {
			return store.Inserted{}, false, err
		}
	}
	made, found, err := t.madeBy(k)
	return store.Inserted{Job: made}, found, err
}

// madeBy returns the job that a key has made.
func (s *session) madeBy(k *store.IdempotencyKey) (made job.Job, found bool, err error) {
	var hash, record string
	var seq int64
	found, err = s.row(stKey, []any{k.Identity, k.Namespace, k.Key}, &hash, &seq, &record)
	switch {
	case err != nil || !found:
		return made, false, err
	case hash != k.BodyHash:
		return made, true, store.ErrKeyReused
	case record != "":
		return made, true, json.Unmarshal([]byte(record), &made)
	}
	jobs, err := s.jobs(stJobBySeq, seq)
	if err == nil && len(jobs) == 0 {
		err = fmt.Errorf("the key of %s leads to no job", k.Identity)
	}
	if err != nil {
		return made, true, err
	}
	return jobs[0], true, nil
}

// MadeBy returns the job that a key has made.
func (s *Store) MadeBy(ctx context.Context, key store.IdempotencyKey) (made job.Job, err error) {
	err = s.read(ctx, "the job of a key", func(r *session) error {
		j, found, err := r.madeBy(&key)
		if err == nil && !found {
			err = store.ErrNotFound
		}
		made = j
		return err
	})
	return made, err
}

func (t *tx) insertJob(seq, class int64, s *submission) (bool, error) {
	j := &s.job
	k := keysOf(j, class)
	t.args = append(t.args[:0], seq, string(j.ID), j.Spec.Namespace, class, string(j.State), j.Version, j.Region,
		s.status, s.spec, rankOf(j.Spec.Priority), instant(j.SubmittedAt),
		k.stage, k.stageAt, k.queue, k.lane, k.unwanted, k.overdueAt)
	n, err := t.exec(stInsertJob, t.args...)
	return n == 1, err
}

// insertRest writes what hangs on a new job.
func (t *tx) insertRest(seq int64, s *submission) error {
	var identity, namespace, key any
	if s.key != nil {
		identity, namespace, key = s.key.Identity, s.key.Namespace, s.key.Key
	}
	if err := t.submissions.add(t.session, seq, s.manifest, identity, namespace, key); err != nil {
		return err
	}
	return t.addEvent(&t.events, seq, &s.transition, s.event)
}

// addEvent gives an event of a job its cursor and its place in bulk.
func (t *tx) addEvent(rows *bulk, subject any, tr *job.Transition, data string) error {
	t.lastEvent++
	t.pass(tr)
	return rows.add(t.session, t.lastEvent, subject, tr.Number, tr.Type, tr.Namespace, instant(tr.At), data)
}

var (
	stClassSeq    = statement(`SELECT seq FROM classes WHERE class = ?`)
	stInsertClass = statement(`INSERT INTO classes (class, demand, constraints, jobs) VALUES (?, ?, ?, 0) RETURNING seq`)
)

// class returns the number of the submission's class, and makes the class if
// it is new.
func (t *tx) class(s *submission) (int64, error) {
	name := s.job.Spec.Class
	seq, found, err := t.classSeq(name)
	if err != nil || found {
		return seq, err
	}
	demand, err := json.Marshal(&s.demand)
	if err != nil {
		return 0, err
	}
	constraints, err := json.Marshal(&s.job.Spec.Placement)
	if err != nil {
		return 0, err
	}
	if _, err := t.row(stInsertClass, []any{string(name), string(demand), string(constraints)}, &seq); err != nil {
		return 0, err
	}
	t.classes[name] = seq
	return seq, nil
}

func (t *tx) classSeq(name capacity.Class) (int64, bool, error) {
	if seq, ok := t.known.classes[name]; ok {
		return seq, true, nil
	}
	if seq, ok := t.classes[name]; ok {
		return seq, true, nil
	}
	var seq int64
	found, err := t.row(stClassSeq, []any{string(name)}, &seq)
	if found {
		t.classes[name] = seq
	}
	return seq, found, err
}
