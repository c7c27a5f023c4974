package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// delivery returns a new delivery of an event about a subject.
func (c *client) delivery(webhook string, cursor int64, subject string) store.Delivery {
	return store.Delivery{
		Webhook: webhook, Cursor: cursor, EventID: fmt.Sprintf("%s/%d", subject, cursor), Type: "job.running", Subject: subject,
		At: c.now.Add(-time.Second), State: store.DeliveryOpen, DueAt: c.now, OpenedAt: c.now, Body: fmt.Appendf(nil, `{"n":%d,"é":"\u0000"}`, cursor),
	}
}

// dispatch adds deliveries behind those that are there.
func (c *client) dispatch(deliveries ...store.Delivery) {
	c.Helper()
	cursor, err := c.OutboxCursor(c.ctx)
	c.must(err)
	to := cursor
	for _, d := range deliveries {
		to = max(to, d.Cursor)
	}
	c.must(c.Dispatch(c.ctx, cursor, to, deliveries))
}

// claimAll claims what is due for some webhooks, for a minute.
func (c *client) claimAll(name string, room int, webhooks ...string) []store.Delivery {
	c.Helper()
	claim := store.DeliveryClaim{Name: name, Now: c.now, Until: c.now.Add(time.Minute), Room: map[string]int{}}
	for _, webhook := range webhooks {
		claim.Room[webhook] = room
	}
	got, err := c.ClaimDeliveries(c.ctx, claim)
	c.must(err)
	return got
}

// settle settles one delivery that a claim holds.
func (c *client) settle(d store.Delivery, state store.DeliveryState, alter ...func(*store.Settlement)) error {
	c.Helper()
	s := store.Settlement{
		Webhook: d.Webhook, Cursor: d.Cursor, Claim: d.Claim, State: state, Now: c.now,
		Try: &store.Try{At: c.now, Took: time.Millisecond, Status: 500, Answer: "no"},
	}
	for _, change := range alter {
		change(&s)
	}
	errs, err := c.SettleDeliveries(c.ctx, []store.Settlement{s})
	c.must(err)
	return errs[0]
}

func retryAt(at time.Time) func(*store.Settlement) {
	return func(s *store.Settlement) { s.DueAt = at }
}

// readDelivery reads one delivery back.
func (c *client) readDelivery(webhook string, cursor int64) store.Delivery {
	c.Helper()
	d, err := c.Delivery(c.ctx, webhook, cursor)
	c.must(err)
	return d
}

// cursors are those of deliveries, in their order.
func cursors(deliveries []store.Delivery) []int64 {
	out := make([]int64, len(deliveries))
	for i, d := range deliveries {
		out[i] = d.Cursor
	}
	return out
}

func (c *client) backlog(webhook string) int64 {
	c.Helper()
	all, err := c.Backlogs(c.ctx)
	c.must(err)
	for _, b := range all {
		if b.Webhook == webhook {
			return b.Open
		}
	}
	return 0
}

func testDispatch(t *testing.T, open Opener) {
	c := newClient(t, open)
	a, b := c.listen(), c.listen()
	cursor, err := c.OutboxCursor(c.ctx)
	c.must(err)
	first := []store.Delivery{c.delivery(a.ID, 11, "job/x"), c.delivery(b.ID, 11, "job/x"), c.delivery("nobody", 11, "job/x")}
	c.must(c.Dispatch(c.ctx, cursor, 11, first))
	c.want(c.Dispatch(c.ctx, cursor, 12, []store.Delivery{c.delivery(a.ID, 12, "job/x")}), store.ErrConflict)
	_, err = c.Delivery(c.ctx, a.ID, 12)
	c.want(err, store.ErrNotFound)
	_, err = c.Delivery(c.ctx, "nobody", 11)
	c.want(err, store.ErrNotFound)

	// Again, with one that is there and one that is not.
	again := c.delivery(a.ID, 11, "job/x")
	again.Body = []byte("other")
	c.must(c.Dispatch(c.ctx, 11, 20, []store.Delivery{again, c.delivery(a.ID, 20, "job/y")}))
	got := c.readDelivery(a.ID, 11)
	c.same("a delivery", got, first[0])
	if !bytes.Equal(got.Body, first[0].Body) {
		t.Errorf("the body is %q instead of %q", got.Body, first[0].Body)
	}
	if cursor, err = c.OutboxCursor(c.ctx); err != nil || cursor != 20 {
		t.Errorf("the outbox is at %d instead of 20 (%v)", cursor, err)
	}
	if x, y := c.backlog(a.ID), c.backlog(b.ID); x != 2 || y != 1 {
		t.Errorf("the backlogs are %d and %d instead of 2 and 1", x, y)
	}
}

func testClaim(t *testing.T, open Opener) {
	c := newClient(t, open)
	a, b := c.listen(), c.listen()
	c.dispatch(
		c.delivery(a.ID, 11, "job/x"), c.delivery(b.ID, 11, "job/x"), c.delivery(a.ID, 12, "job/x"),
		c.delivery(a.ID, 13, "job/y"), c.delivery(a.ID, 14, "region/x"),
	)
	if got := c.claimAll("early", 9); len(got) != 0 {
		t.Errorf("without room %v were claimed", cursors(got))
	}
	c.now = c.now.Add(-1)
	if got := c.claimAll("early", 9, a.ID); len(got) != 0 {
		t.Errorf("%v were claimed before they were due", cursors(got))
	}
	c.now = c.now.Add(1)
	got := c.claimAll("one", 2, a.ID, "nobody")
	if len(got) != 2 || got[0].Webhook != a.ID || len(got[0].Body) == 0 || got[0].Claim != "one" || !got[0].DueAt.Equal(c.now.Add(time.Minute)) {
		t.Fatalf("claimed %s", text(got))
	}
	rest := c.claimAll("two", 9, a.ID, b.ID)
	slices.SortFunc(rest, func(x, y store.Delivery) int { return int(x.Cursor - y.Cursor) })
	all := cursors(append(got, rest...))
	slices.Sort(all)
	if want := []int64{11, 11, 13, 14}; !slices.Equal(all, want) {
		t.Fatalf("%v were claimed instead of %v, the first of each lane", all, want)
	}
	if again := c.claimAll("three", 9, a.ID, b.ID); len(again) != 0 {
		t.Errorf("%v were claimed twice", cursors(again))
	}

	// A claim that has ended may be taken over, and then settles nothing.
	c.pass(time.Minute)
	taken := c.claimAll("three", 9, b.ID)
	if len(taken) != 1 || taken[0].Claim != "three" {
		t.Fatalf("after its end a claim was taken over as %s", text(taken))
	}
	c.want(c.settle(store.Delivery{Webhook: b.ID, Cursor: 11, Claim: "two"}, store.DeliveryDone), store.ErrConflict)
	// One that has ended and was not taken over still does.
	c.must(c.settle(got[0], store.DeliveryDone))
	c.want(c.settle(got[0], store.DeliveryDone), store.ErrConflict)
	c.want(c.settle(store.Delivery{Webhook: a.ID, Cursor: 99, Claim: "one"}, store.DeliveryDone), store.ErrNotFound)
	c.want(c.settle(store.Delivery{Webhook: "nobody", Cursor: 11, Claim: "one"}, store.DeliveryDone), store.ErrNotFound)
}

func testLane(t *testing.T, open Opener) {
	c := newClient(t, open)
	w := c.listen()
	c.dispatch(c.delivery(w.ID, 11, "job/x"), c.delivery(w.ID, 12, "job/x"), c.delivery(w.ID, 13, "job/x"))
	expect := func(want ...int64) []store.Delivery {
		t.Helper()
		got := c.claimAll(fmt.Sprint("at ", c.now), 9, w.ID)
		if !slices.Equal(cursors(got), want) {
			t.Fatalf("%v were claimed instead of %v", cursors(got), want)
		}
		return got
	}
	// A try that failed keeps the lane; so does a claim that is given back.
	d := expect(11)[0]
	c.must(c.settle(d, store.DeliveryOpen, retryAt(c.now.Add(time.Hour))))
	expect()
	c.pass(time.Hour)
	d = expect(11)[0]
	c.must(c.settle(d, store.DeliveryOpen, retryAt(c.now), func(s *store.Settlement) { s.Try = nil }))
	d = expect(11)[0]
	if d.Attempts != 1 {
		t.Errorf("%d attempts are counted instead of 1", d.Attempts)
	}
	// Done and dead free the next.
	c.must(c.settle(d, store.DeliveryDead, func(s *store.Settlement) { s.Reason = "too old" }))
	dead := c.readDelivery(w.ID, 11)
	if dead.State != store.DeliveryDead || dead.Reason != "too old" || !dead.SettledAt.Equal(c.now) || !dead.DueAt.IsZero() || dead.Claim != "" {
		t.Errorf("a dead delivery is %s", text(dead))
	}
	d = expect(12)[0]
	c.must(c.settle(d, store.DeliveryDone))
	c.dispatch(c.delivery(w.ID, 14, "job/x"))
	d = expect(13)[0]
	c.must(c.settle(d, store.DeliveryDone))
	d = expect(14)[0]
	c.must(c.settle(d, store.DeliveryDone))
	expect()
	c.dispatch(c.delivery(w.ID, 15, "job/x"))
	expect(15)
	if n := c.backlog(w.ID); n != 1 {
		t.Errorf("the backlog is %d instead of 1", n)
	}
}

func testTries(t *testing.T, open Opener) {
	c := newClient(t, open)
	w := c.listen()
	c.dispatch(c.delivery(w.ID, 11, "job/x"))
	var want []store.Try
	for i := range store.MaxTries + 3 {
		d := c.claimAll("me", 1, w.ID)[0]
		try := store.Try{At: c.now, Took: time.Duration(i) * time.Millisecond, Status: 500 + i, Error: "é\n", Answer: fmt.Sprint("answer ", i)}
		if len(want) > 0 {
			want[len(want)-1].Answer = ""
		}
		want = append(want, try)
		c.pass(time.Second)
		c.must(c.settle(d, store.DeliveryOpen, retryAt(c.now), func(s *store.Settlement) { s.Try = &try }))
	}
	d := c.readDelivery(w.ID, 11)
	c.same("the tries", d.Tries, want[3:])
	if d.Attempts != len(want) || d.Claim != "" || !d.DueAt.Equal(c.now) {
		t.Errorf("after %d tries it is %s", len(want), text(d))
	}
}

func testRedeliver(t *testing.T, open Opener) {
	c := newClient(t, open)
	w := c.listen()
	var all []store.Delivery
	for cursor := int64(11); cursor < 16; cursor++ {
		all = append(all, c.delivery(w.ID, cursor, "job/x"))
	}
	c.dispatch(append(slices.Clone(all[:2]), all[3:]...)...)
	for _, state := range []store.DeliveryState{store.DeliveryDead, store.DeliveryDone} {
		c.must(c.settle(c.claimAll("me", 9, w.ID)[0], state))
	}
	held := c.claimAll("me", 9, w.ID)[0]
	if held.Cursor != 14 {
		t.Fatalf("delivery %d is the first", held.Cursor)
	}
	c.pass(time.Hour)
	for i := range all {
		all[i].OpenedAt, all[i].DueAt = c.now, c.now
	}
	// The dead one and the one that was left out come before the one that is
	// claimed; the one that was done is left alone, and so are the open ones.
	n, err := c.Redeliver(c.ctx, append(slices.Clone(all), c.delivery("nobody", 11, "job/x")), []store.DeliveryState{store.DeliveryDead})
	c.must(err)
	if n != 2 || c.backlog(w.ID) != 4 {
		t.Errorf("%d were opened again instead of 2, and the backlog is %d instead of 4", n, c.backlog(w.ID))
	}
	d := c.readDelivery(w.ID, 11)
	if d.State != store.DeliveryOpen || d.Attempts != 0 || len(d.Tries) != 1 || !d.DueAt.Equal(c.now) || !d.SettledAt.IsZero() || !bytes.Equal(d.Body, all[0].Body) {
		t.Errorf("a delivery that was opened again is %s", text(d))
	}
	order := []int64{11, 13, 15}
	got := c.claimAll("you", 9, w.ID)
	if len(got) != 1 || got[0].Cursor != 11 {
		t.Fatalf("%v were claimed instead of 11", cursors(got))
	}
	c.must(c.settle(held, store.DeliveryDone))
	for _, cursor := range order {
		if len(got) != 1 || got[0].Cursor != cursor {
			t.Fatalf("%v were claimed instead of %d", cursors(got), cursor)
		}
		c.must(c.settle(got[0], store.DeliveryDone))
		got = c.claimAll("you", 9, w.ID)
	}
	n, err = c.Redeliver(c.ctx, all[1:2], []store.DeliveryState{store.DeliveryDone, store.DeliveryDead})
	c.must(err)
	if got := c.claimAll("you", 9, w.ID); n != 1 || len(got) != 1 || got[0].Cursor != 12 {
		t.Errorf("%d were opened again and %v claimed instead of 12", n, cursors(got))
	}
}

func testDeliveries(t *testing.T, open Opener) {
	c := newClient(t, open)
	w, other := c.listen(), c.listen()
	var batch []store.Delivery
	for i := range 30 {
		batch = append(batch, c.delivery(w.ID, int64(i+11), fmt.Sprint("job/", i%4)))
	}
	c.dispatch(append(batch, c.delivery(other.ID, 50, "job/0"))...)
	for range 3 {
		for i, d := range c.claimAll("me", 9, w.ID) {
			c.must(c.settle(d, []store.DeliveryState{store.DeliveryDone, store.DeliveryDead}[i%2]))
		}
	}
	var all []store.Delivery
	for _, d := range slices.Backward(batch) {
		stored := c.readDelivery(w.ID, d.Cursor)
		stored.Body = nil
		all = append(all, stored)
	}
	for _, query := range []store.DeliveryQuery{
		{}, {State: store.DeliveryOpen}, {State: store.DeliveryDead}, {Subject: "job/2"}, {Subject: "job/1", State: store.DeliveryDone}, {Subject: "nothing"},
	} {
		query.Webhook = w.ID
		var want []store.Delivery
		for _, d := range all {
			if (query.State == "" || query.State == d.State) && (query.Subject == "" || query.Subject == d.Subject) {
				want = append(want, d)
			}
		}
		for _, query.Limit = range []int{1, 7, 1000} {
			var got []store.Delivery
			query.Before = 0
			for {
				page, err := c.Deliveries(c.ctx, query)
				c.must(err)
				if len(page.Deliveries) > query.Limit {
					t.Fatalf("%d deliveries where at most %d were asked for", len(page.Deliveries), query.Limit)
				}
				got = append(got, page.Deliveries...)
				if query.Before = page.Next; !page.More {
					break
				}
			}
			c.same("deliveries by "+text(query), got, want)
		}
	}
	_, err := c.Deliveries(c.ctx, store.DeliveryQuery{Webhook: "nobody", Limit: 1})
	c.want(err, store.ErrNotFound)
}

func testPruneDeliveries(t *testing.T, open Opener) {
	c := newClient(t, open)
	w, ended := c.listen(), c.listen()
	prune := func(limit, want int) {
		t.Helper()
		n, err := c.PruneDeliveries(c.ctx, c.now, limit)
		c.must(err)
		if n != want {
			t.Errorf("%d deliveries were removed instead of %d", n, want)
		}
	}
	for i := range 4 {
		c.dispatch(c.delivery(w.ID, int64(i+11), fmt.Sprint("job/", i)), c.delivery(ended.ID, int64(i+11), fmt.Sprint("job/", i)))
	}
	for _, d := range c.claimAll("me", 3, w.ID) {
		c.must(c.settle(d, store.DeliveryDone))
	}
	prune(100, 0)
	c.pass(1)
	prune(2, 2)
	prune(2, 1)
	prune(100, 0)
	page, err := c.Deliveries(c.ctx, store.DeliveryQuery{Webhook: w.ID, Limit: 10})
	c.must(err)
	if len(page.Deliveries) != 1 || page.Deliveries[0].State != store.DeliveryOpen {
		t.Errorf("left are %s", text(page))
	}

	// Those of a deleted webhook go, whatever their state.
	claimed := c.claimAll("me", 1, ended.ID)[0]
	c.must(c.DeleteWebhook(c.ctx, ended.ID, 1, c.now))
	if got := c.claimAll("me", 9, ended.ID); len(got) != 0 {
		t.Errorf("%v of a deleted webhook were claimed", cursors(got))
	}
	if err := c.settle(claimed, store.DeliveryDone); err != nil {
		c.want(err, store.ErrNotFound)
	}
	if n := c.backlog(ended.ID); n != 0 {
		t.Errorf("a deleted webhook has a backlog of %d", n)
	}
	prune(3, 3)
	prune(3, 1)
	prune(3, 0)
	if n := c.backlog(w.ID); n != 1 {
		t.Errorf("the backlog of another webhook is %d instead of 1", n)
	}
}

func testRaceForDelivery(t *testing.T, open Opener) {
	c := newClient(t, open)
	w := c.listen()
	const lanes = 40
	var batch []store.Delivery
	for i := range lanes {
		batch = append(batch, c.delivery(w.ID, int64(i+11), fmt.Sprint("job/", i)))
	}
	c.dispatch(batch...)
	var mutex sync.Mutex
	holders := map[int64][]string{}
	claim := func(name string) int {
		claimed, err := c.ClaimDeliveries(c.ctx, store.DeliveryClaim{
			Name: name, Now: c.now, Until: c.now.Add(time.Minute), Room: map[string]int{w.ID: 3},
		})
		if err != nil {
			t.Error(err)
		}
		mutex.Lock()
		defer mutex.Unlock()
		for _, d := range claimed {
			holders[d.Cursor] = append(holders[d.Cursor], d.Claim)
		}
		return len(claimed)
	}
	race(racers/2, func(i int) { claim(fmt.Sprint("racer ", i)) })
	for claim("the last") > 0 {
	}
	if len(holders) != lanes {
		t.Errorf("%d of %d deliveries were claimed", len(holders), lanes)
	}
	for cursor, names := range holders {
		if len(names) != 1 || c.readDelivery(w.ID, cursor).Claim != names[0] {
			t.Errorf("delivery %d was claimed by %v", cursor, names)
		}
	}
}

// testLanes takes an outbox through random lives and, after every step, holds
// what can be claimed against the rule: the first open one of each lane.
func testLanes(t *testing.T, open Opener) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClient(rt, open)
		m := &outboxModel{client: c, webhook: c.listen().ID, deliveries: map[int64]*store.Delivery{}, next: 100}
		rt.Repeat(map[string]func(*rapid.T){
			"dispatch":  m.dispatchSome,
			"claim":     m.claimSome,
			"settle":    m.settleOne,
			"more":      m.settleOne,
			"redeliver": m.redeliverSome,
			"time":      func(t *rapid.T) { c.pass(time.Duration(rapid.IntRange(1, 90).Draw(t, "seconds")) * time.Second) },
			"":          func(*rapid.T) { m.check() },
		})
	})
}

// outboxModel is what the outbox of one webhook should hold.
type outboxModel struct {
	*client
	webhook    string
	deliveries map[int64]*store.Delivery
	next       int64
}

func (m *outboxModel) dispatchSome(t *rapid.T) {
	var batch []store.Delivery
	for range rapid.IntRange(1, 5).Draw(t, "deliveries") {
		// Some cursors are left for redeliver to fill.
		m.next += int64(rapid.IntRange(1, 2).Draw(t, "gap"))
		d := m.delivery(m.webhook, m.next, fmt.Sprint("job/", rapid.IntRange(0, 2).Draw(t, "subject")))
		m.deliveries[d.Cursor] = &d
		batch = append(batch, d)
	}
	m.dispatch(batch...)
}

// heads are the cursors of the first open delivery of each lane, if due.
func (m *outboxModel) heads() []int64 {
	first := map[string]*store.Delivery{}
	for _, d := range m.deliveries {
		if at := first[d.Subject]; d.State == store.DeliveryOpen && (at == nil || d.Cursor < at.Cursor) {
			first[d.Subject] = d
		}
	}
	var all []int64
	for _, d := range first {
		if !d.DueAt.After(m.now) {
			all = append(all, d.Cursor)
		}
	}
	slices.Sort(all)
	return all
}

func (m *outboxModel) claimSome(t *rapid.T) {
	want := m.heads()
	room := rapid.IntRange(1, 4).Draw(t, "room")
	got := m.claimAll(string(job.NewID()), room, m.webhook)
	if len(got) != min(room, len(want)) {
		t.Fatalf("%v were claimed with room for %d; due are %v", cursors(got), room, want)
	}
	for _, d := range got {
		if !slices.Contains(want, d.Cursor) {
			t.Fatalf("%d was claimed; due are %v", d.Cursor, want)
		}
		m.deliveries[d.Cursor].Claim, m.deliveries[d.Cursor].DueAt = d.Claim, d.DueAt
	}
}

// some picks a delivery.
func (m *outboxModel) some(t *rapid.T, keep func(*store.Delivery) bool) *store.Delivery {
	var all []int64
	for cursor, d := range m.deliveries {
		if keep(d) {
			all = append(all, cursor)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	return m.deliveries[rapid.SampledFrom(all).Draw(t, "delivery")]
}

func (m *outboxModel) settleOne(t *rapid.T) {
	d := m.some(t, func(d *store.Delivery) bool { return d.Claim != "" })
	if d == nil {
		return
	}
	state := rapid.SampledFrom([]store.DeliveryState{store.DeliveryOpen, store.DeliveryDone, store.DeliveryDead}).Draw(t, "state")
	due := m.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "retry")) * time.Second)
	m.must(m.settle(*d, state, retryAt(due)))
	d.State, d.Claim, d.DueAt = state, "", due
}

func (m *outboxModel) redeliverSome(t *rapid.T) {
	cursor := int64(rapid.IntRange(101, int(m.next)+1).Draw(t, "cursor"))
	states := rapid.SampledFrom([][]store.DeliveryState{{store.DeliveryDead}, {store.DeliveryDead, store.DeliveryDone}}).Draw(t, "states")
	d := m.deliveries[cursor]
	subject := fmt.Sprint("job/", rapid.IntRange(0, 2).Draw(t, "subject"))
	want := 0
	switch {
	case cursor > m.next:
		return
	case d == nil:
		want = 1
	case slices.Contains(states, d.State):
		want, subject = 1, d.Subject
	default:
		subject = d.Subject
	}
	opened := m.delivery(m.webhook, cursor, subject)
	n, err := m.Redeliver(m.ctx, []store.Delivery{opened}, states)
	m.must(err)
	if n != want {
		t.Fatalf("%d were opened again instead of %d", n, want)
	}
	if want == 1 {
		m.deliveries[cursor] = &opened
	}
}

func (m *outboxModel) check() {
	open := int64(0)
	for cursor, d := range m.deliveries {
		stored := m.readDelivery(m.webhook, cursor)
		due := stored.State != store.DeliveryOpen || stored.DueAt.Equal(d.DueAt)
		if stored.State != d.State || stored.Claim != d.Claim || !due || !strings.HasPrefix(stored.Subject, d.Subject) {
			m.Fatalf("stored is %s instead of %s", text(stored), text(d))
		}
		if d.State == store.DeliveryOpen {
			open++
		}
	}
	if n := m.backlog(m.webhook); n != open {
		m.Fatalf("the backlog is %d instead of %d", n, open)
	}
}
