package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/store"
)

func (b brokenStore) CreateWebhook(ctx context.Context, w store.Webhook, limit int) (store.Webhook, error) {
	if b.down.Load() {
		return store.Webhook{}, fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	if b.limited.Load() {
		return store.Webhook{}, store.ErrTooMany
	}
	return b.Store.CreateWebhook(ctx, w, limit)
}

func (b brokenStore) ChangeWebhook(ctx context.Context, w store.Webhook, eventType string) (store.Webhook, error) {
	if b.down.Load() {
		return store.Webhook{}, fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.ChangeWebhook(ctx, w, eventType)
}

func (b brokenStore) DeleteWebhook(ctx context.Context, id string, version int64, now time.Time) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	if b.limited.Load() {
		return store.ErrConflict
	}
	return b.Store.DeleteWebhook(ctx, id, version, now)
}

func (b brokenStore) Redeliver(ctx context.Context, d []store.Delivery, states []store.DeliveryState) (int, error) {
	if b.down.Load() {
		return 0, fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.Redeliver(ctx, d, states)
}

// hookReceiver takes deliveries that carry a signature of its secret.
type hookReceiver struct {
	*httptest.Server
	secret atomic.Value
	status atomic.Int64
	taken  atomic.Int64
}

func (sc *scenario) hookReceiver() *hookReceiver {
	r := &hookReceiver{}
	r.status.Store(http.StatusOK)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			sc.t.Error(err)
		}
		secret, _ := r.secret.Load().(string)
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = verifier.Verify(body, request.Header)
		}
		if err != nil {
			sc.t.Errorf("a delivery does not verify: %v", err)
		}
		if r.status.Load() == http.StatusOK {
			r.taken.Add(1)
		}
		w.WriteHeader(int(r.status.Load()))
		fmt.Fprint(w, "said")
	}))
	sc.t.Cleanup(r.Close)
	return r
}

func (sc *scenario) webhooks() {
	ctx := sc.t.Context()
	r := sc.hookReceiver()
	created, err := sc.admin.CreateWebhook(ctx, api.NewWebhook{
		URL: r.URL + "/in", Description: "a test", Namespace: "team-a", Types: []string{"job.*"}, Secret: "whsec_" + strings.Repeat("A", 44),
	})
	sc.must(err)
	r.secret.Store(created.Secret)
	id := created.ID
	sc.deliveries(id, r)
	sc.webhookChanges(id, r)
	sc.webhookFaults(id)
	sc.must(sc.admin.DeleteWebhook(ctx, id))
}

// tried waits until a webhook's delivery of an event was tried.
func (sc *scenario) tried(id, event string) (tried api.Delivery) {
	sc.t.Helper()
	eventually(sc.t, func() bool {
		list, err := sc.admin.Deliveries(sc.t.Context(), id, client.DeliveryFilter{})
		sc.must(err)
		for _, d := range list.Items {
			if d.EventID == event && len(d.Tries) > 0 {
				tried = d
				return true
			}
		}
		return false
	})
	return tried
}

func (sc *scenario) deliveries(id string, r *hookReceiver) {
	ctx := sc.t.Context()
	test, err := sc.admin.TestWebhook(ctx, id)
	sc.must(err)
	if want := "webhook/" + id + "/2"; test.EventID != want {
		sc.t.Errorf("the test is %s instead of %s", test.EventID, want)
	}
	first := sc.tried(id, test.EventID)
	if first.State != "done" || r.taken.Load() != 1 {
		sc.t.Errorf("the test is %+v, taken %d", first, r.taken.Load())
	}
	r.status.Store(http.StatusServiceUnavailable)
	again, err := sc.admin.TestWebhook(ctx, id)
	sc.must(err)
	open := sc.tried(id, again.EventID)
	if open.State != "open" || open.DueAt == nil || open.Tries[0].Answer != "said" {
		sc.t.Errorf("after an error it is %+v", open)
	}
	r.status.Store(http.StatusGone)
	second := sc.webhookThatIsGone(r)
	r.status.Store(http.StatusOK)
	one, err := sc.admin.Delivery(ctx, id, first.ID)
	sc.must(err)
	if !strings.Contains(string(one.Payload), test.EventID) {
		sc.t.Errorf("the payload is %s", one.Payload)
	}
	list, err := sc.admin.Deliveries(ctx, id, client.DeliveryFilter{State: "done", Subject: "webhook/" + id, Limit: 1})
	sc.must(err)
	if len(list.Items) != 1 || list.NextCursor != "" {
		sc.t.Errorf("deliveries that were done: %+v", list)
	}
	list, err = sc.admin.Deliveries(ctx, id, client.DeliveryFilter{Limit: 1})
	sc.must(err)
	_, err = sc.admin.Deliveries(ctx, id, client.DeliveryFilter{Limit: 1, Cursor: list.NextCursor})
	sc.must(err)
	_, err = sc.admin.Deliveries(ctx, second, client.DeliveryFilter{Cursor: list.NextCursor})
	sc.mustFail(400, err)
	sc.must(sc.admin.DeleteWebhook(ctx, second))

	count, err := sc.admin.Redeliver(ctx, id, api.Redelivery{Deliveries: []string{first.ID}})
	sc.must(err)
	if count != 1 {
		sc.t.Errorf("%d were made again", count)
	}
	eventually(sc.t, func() bool { return r.taken.Load() == 2 })
	until := time.Now().UTC()
	_, err = sc.admin.Redeliver(ctx, id, api.Redelivery{Since: "1h", Until: &until, All: true})
	sc.must(err)
	sc.redeliverInSteps(id)
}

// webhookThatIsGone makes one that pauses itself, and returns its ID.
func (sc *scenario) webhookThatIsGone(r *hookReceiver) string {
	ctx := sc.t.Context()
	created, err := sc.admin.CreateWebhook(ctx, api.NewWebhook{URL: r.URL, Secret: r.secret.Load().(string)})
	sc.must(err)
	test, err := sc.admin.TestWebhook(ctx, created.ID)
	sc.must(err)
	var w api.Webhook
	eventually(sc.t, func() bool {
		w, err = sc.admin.Webhook(ctx, created.ID)
		sc.must(err)
		return w.State == "paused"
	})
	dead := sc.tried(created.ID, test.EventID)
	if w.PauseReason != "gone" || w.PauseMessage == "" || dead.State != "dead" || dead.Reason == "" || dead.Tries[0].Error == "" {
		sc.t.Errorf("one that is gone is %+v with %+v", w, dead)
	}
	_, err = sc.admin.RotateWebhook(ctx, created.ID, api.Rotation{})
	sc.must(err)
	return created.ID
}

// redeliverInSteps goes through more events than one call looks at.
func (sc *scenario) redeliverInSteps(id string) {
	for i := range 600 {
		_, err := sc.store.SetSchedulable(sc.t.Context(), testRegion, i%2 == 0, false, time.Now())
		sc.must(err)
	}
	eventually(sc.t, func() bool {
		cursor, err := sc.store.OutboxCursor(sc.t.Context())
		sc.must(err)
		last, err := sc.store.LastEvent(sc.t.Context())
		sc.must(err)
		return cursor == last
	})
	response, text := sc.raw(post, "/api/v1/webhooks/"+id+"/redeliver", map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + sc.token}, `{"since":"1h"}`)
	sc.want(200, response, text)
	if !strings.Contains(text, "nextCursor") {
		sc.t.Errorf("a long range is one step: %s", text)
	}
	_, err := sc.admin.Redeliver(sc.t.Context(), id, api.Redelivery{Since: "1h"})
	sc.must(err)
}

func (sc *scenario) webhookChanges(id string, r *hookReceiver) {
	ctx := sc.t.Context()
	address, text, types := r.URL+"/new", "changed", []string{"job.failed"}
	updated, err := sc.admin.UpdateWebhook(ctx, id, api.WebhookUpdate{URL: &address, Description: &text, Types: &types})
	sc.must(err)
	if updated.URL != address || updated.Description != text || updated.Types[0] != types[0] {
		sc.t.Errorf("it was changed to %+v", updated)
	}
	sc.must(sc.store.SetFailing(ctx, id, time.Now()))
	failing, err := sc.admin.Webhook(ctx, id)
	sc.must(err)
	if failing.State != "failing" || failing.FailingSince == nil {
		sc.t.Errorf("one that fails is %+v", failing)
	}
	rotated, err := sc.admin.RotateWebhook(ctx, id, api.Rotation{Overlap: "1h", Secret: "whsec_" + strings.Repeat("B", 44)})
	sc.must(err)
	if rotated.RotatedUntil == nil || rotated.Secret == r.secret.Load().(string) {
		sc.t.Errorf("rotated to %+v", rotated)
	}
	paused, err := sc.admin.PauseWebhook(ctx, id)
	sc.must(err)
	if paused.State != "paused" || paused.PauseReason != "user" || paused.PausedAt == nil {
		sc.t.Errorf("paused as %+v", paused)
	}
	_, err = sc.admin.TestWebhook(ctx, id)
	sc.mustFail(409, err)
	_, err = sc.admin.ResumeWebhook(ctx, id)
	sc.must(err)
	list, err := sc.admin.Webhooks(ctx, "team-a")
	sc.must(err)
	if len(list.Items) != 1 || list.Items[0].ID != id {
		sc.t.Errorf("the webhooks of team-a are %+v", list.Items)
	}
	stranger := sc.as(api.NewToken{Role: "submitter", Namespaces: []string{"team-b"}})
	_, err = stranger.Webhook(ctx, id)
	sc.mustFail(404, err)
	_, err = stranger.CreateWebhook(ctx, api.NewWebhook{URL: r.URL})
	sc.mustFail(403, err)
	if list, err = stranger.Webhooks(ctx, ""); err != nil || len(list.Items) != 0 {
		sc.t.Errorf("a token of another namespace sees %+v (%v)", list.Items, err)
	}
}

func (sc *scenario) webhookFaults(id string) {
	ctx := sc.t.Context()
	address := "https://example.com/"
	calls := func(id string) []func() error {
		return []func() error{
			func() error { _, err := sc.admin.UpdateWebhook(ctx, id, api.WebhookUpdate{URL: &address}); return err },
			func() error { return sc.admin.DeleteWebhook(ctx, id) },
			func() error { _, err := sc.admin.RotateWebhook(ctx, id, api.Rotation{}); return err },
			func() error { _, err := sc.admin.PauseWebhook(ctx, id); return err },
			func() error { _, err := sc.admin.TestWebhook(ctx, id); return err },
			func() error { _, err := sc.admin.Redeliver(ctx, id, api.Redelivery{Since: "1h"}); return err },
		}
	}
	sc.down.Store(true)
	for _, call := range calls(id) {
		sc.mustFail(503, call())
	}
	_, err := sc.admin.CreateWebhook(ctx, api.NewWebhook{URL: address})
	sc.mustFail(503, err)
	sc.down.Store(false)
	_, err = sc.admin.PauseWebhook(ctx, id)
	sc.must(err)
	sc.down.Store(true)
	_, err = sc.admin.ResumeWebhook(ctx, id)
	sc.mustFail(503, err)
	sc.down.Store(false)
	sc.limited.Store(true)
	_, err = sc.admin.CreateWebhook(ctx, api.NewWebhook{URL: address})
	sc.mustFail(429, err)
	sc.mustFail(409, sc.admin.DeleteWebhook(ctx, id))
	sc.limited.Store(false)
	for _, call := range calls("none") {
		sc.mustFail(404, call())
	}
	_, err = sc.admin.Webhook(ctx, "none")
	sc.mustFail(404, err)
	_, err = sc.admin.ResumeWebhook(ctx, "none")
	sc.mustFail(404, err)
	_, err = sc.admin.Deliveries(ctx, "none", client.DeliveryFilter{})
	sc.mustFail(404, err)
	_, err = sc.admin.Delivery(ctx, id, "9999999")
	sc.mustFail(404, err)
	_, err = sc.admin.Redeliver(ctx, id, api.Redelivery{Since: "1h", Cursor: "other"})
	sc.mustFail(400, err)
	for _, bad := range []api.Redelivery{{}, {Deliveries: []string{"x"}}, {Deliveries: []string{"1"}, Since: "1h"}, {Since: "soon"}} {
		_, err = sc.admin.Redeliver(ctx, id, bad)
		sc.mustFail(422, err)
	}
	for _, bad := range []api.NewWebhook{
		{URL: "https://169.254.169.254/latest/meta-data"},
		{URL: "https://[::ffff:10.0.0.1]/"},
		{},
		{URL: address, Secret: "short", Types: []string{"no type!"}, Namespace: "Not A Label"},
	} {
		_, err = sc.admin.CreateWebhook(ctx, bad)
		sc.mustFail(422, err)
	}
	for _, verb := range []string{"pause", "resume", "test"} {
		response, text := sc.raw(post, "/api/v1/webhooks/"+id+"/"+verb, map[string]string{"Authorization": "Bearer " + sc.token}, "{}")
		sc.want(400, response, text)
	}
}
