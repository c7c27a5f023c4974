package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
)

const manifestText = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"simulated"},"spec":{"template":{"spec":{
"restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1.36","command":["true"],
"resources":{"requests":{"cpu":"1"}}}]}}}}`

// clients submit jobs, over and over with the same key until they are told
// that it worked, and change their minds.
type clients struct {
	w    *world
	sent int
	// accepted maps idempotency keys to the job that a server named.
	accepted map[string]job.ID
}

func (c *clients) submit() {
	c.sent++
	c.attempt(queue.Submission{
		Identity: "client", Key: fmt.Sprintf("key-%d", c.sent), Request: c.request(),
	})
}

func (c *clients) request() api.Submission {
	dice := c.w.dice
	priority, retries := dice.IntN(3), dice.IntN(3)
	request := api.Submission{Manifest: []byte(manifestText), Priority: &priority, Retries: &retries}
	switch dice.IntN(8) {
	case 0:
		request.OnRegionLost = "fail"
	case 1, 2:
		request.OnRegionLost = "wait"
		request.OnRegionLostLimit = between(dice, time.Second, 20*time.Second).String()
	}
	if dice.IntN(6) == 0 {
		request.Deadline = between(dice, 20*time.Second, 2*time.Minute).String()
	}
	if dice.IntN(6) == 0 {
		request.Placement = &api.Placement{AvoidRegions: []string{regionNames[dice.IntN(len(regionNames))]}}
	}
	return request
}

// attempt sends one submission; the answer may be lost, and is sometimes
// asked for again though it was not.
func (c *clients) attempt(submission queue.Submission) {
	again := func() {
		c.w.plan.plan(c.w.later(100*time.Millisecond, 5*time.Second), func() { c.attempt(submission) })
	}
	s := c.w.anyServer()
	if s == nil {
		again()
		return
	}
	result := s.queue.Submit(c.w.ctx, []queue.Submission{submission})[0]
	if s.path.dead || passing(result.Err) || c.w.chance(10) {
		again()
		return
	}
	if result.Err != nil {
		c.w.fail("submission %s: %v", submission.Key, result.Err)
	}
	c.accept(submission.Key, result.Job.ID)
	if c.w.chance(10) {
		again()
	}
}

func (c *clients) accept(key string, id job.ID) {
	if before, ok := c.accepted[key]; ok && before != id {
		c.w.fail("key %s made two jobs: %s and %s", key, before, id)
	} else if ok {
		return
	}
	if c.accepted == nil {
		c.accepted = map[string]job.ID{}
	}
	c.accepted[key] = id
	c.w.note("%s accepted as %s", key, id)
	if c.w.dice.IntN(4) == 0 {
		c.w.plan.plan(c.w.later(0, time.Minute), func() { c.cancel(id) })
	}
}

// cancelAny cancels one of the accepted jobs through the given server.
func (c *clients) cancelAny(s *server) {
	if n := len(c.accepted); n > 0 {
		c.cancelThrough(s, c.accepted[fmt.Sprintf("key-%d", 1+c.w.dice.IntN(c.sent))])
	}
}

func (c *clients) cancel(id job.ID) {
	if s := c.w.anyServer(); s != nil {
		c.cancelThrough(s, id)
	}
}

func (c *clients) cancelThrough(s *server, id job.ID) {
	if id == "" {
		return
	}
	_, err := s.queue.Cancel(c.w.ctx, id)
	c.w.note("cancel %s: %v", id, err)
	if _, late := errors.AsType[*job.NotAllowed](err); err != nil && !late && !s.path.dead && !passing(err) {
		c.w.fail("cancelling %s: %v", id, err)
	}
}
