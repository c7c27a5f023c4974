package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/joblog"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/store"
)

// switches break the store and the queue while a scenario plays.
type switches struct {
	down    atomic.Bool
	limited atomic.Bool
}

// brokenStore cannot write while it is down.
type brokenStore struct {
	store.Store
	*switches
}

func (b brokenStore) Ping(ctx context.Context) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.Ping(ctx)
}

func (b brokenStore) CreateToken(ctx context.Context, token store.Token) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.CreateToken(ctx, token)
}

func (b brokenStore) DeleteToken(ctx context.Context, id string) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.DeleteToken(ctx, id)
}

func (b brokenStore) SetLogs(ctx context.Context, id job.AttemptID, state job.LogState) error {
	if b.down.Load() {
		return fmt.Errorf("writing: %w", store.ErrUnavailable)
	}
	return b.Store.SetLogs(ctx, id, state)
}

// brokenQueue is a queue over such a store.
type brokenQueue struct {
	Queue
	*switches
}

func (b brokenQueue) fault() error {
	switch {
	case b.down.Load():
		return fmt.Errorf("storing: %w", store.ErrUnavailable)
	case b.limited.Load():
		return &queue.Limited{RetryAfter: 1500 * time.Millisecond, Message: "too many"}
	}
	return nil
}

func (b brokenQueue) Submit(ctx context.Context, submissions []queue.Submission) []queue.Submitted {
	if err := b.fault(); err != nil {
		results := make([]queue.Submitted, len(submissions))
		for i := range results {
			results[i].Err = err
		}
		return results
	}
	return b.Queue.Submit(ctx, submissions)
}

func (b brokenQueue) Retry(ctx context.Context, identity string, id job.ID) (job.Job, error) {
	if err := b.fault(); err != nil {
		return job.Job{}, err
	}
	return b.Queue.Retry(ctx, identity, id)
}

func (b brokenQueue) Cancel(ctx context.Context, id job.ID) (job.Job, error) {
	if err := b.fault(); err != nil {
		return job.Job{}, err
	}
	return b.Queue.Cancel(ctx, id)
}

func (b brokenQueue) Delete(ctx context.Context, id job.ID) error {
	return errors.Join(b.fault(), b.deleteIfUp(ctx, id))
}

func (b brokenQueue) deleteIfUp(ctx context.Context, id job.ID) error {
	if b.down.Load() {
		return nil
	}
	return b.Queue.Delete(ctx, id)
}

func (b brokenQueue) Sync(ctx context.Context, region string, request api.SyncRequest) (api.SyncResponse, error) {
	if err := b.fault(); err != nil {
		return api.SyncResponse{}, err
	}
	return b.Queue.Sync(ctx, region, request)
}

func (b brokenQueue) Cordon(ctx context.Context, region string) (capacity.Region, error) {
	if err := b.fault(); err != nil {
		return capacity.Region{}, err
	}
	return b.Queue.Cordon(ctx, region)
}

func (b brokenQueue) Uncordon(ctx context.Context, region string) (capacity.Region, error) {
	if err := b.fault(); err != nil {
		return capacity.Region{}, err
	}
	return b.Queue.Uncordon(ctx, region)
}

func (b brokenQueue) WriteOff(ctx context.Context, region string) (capacity.Region, error) {
	if err := b.fault(); err != nil {
		return capacity.Region{}, err
	}
	return b.Queue.WriteOff(ctx, region)
}

func (b brokenQueue) Drain(ctx context.Context, region string) (capacity.Region, error) {
	if err := b.fault(); err != nil {
		return capacity.Region{}, err
	}
	return b.Queue.Drain(ctx, region)
}

// Explain fills in an estimate, which takes a history that a short scenario
// does not have.
func (b brokenQueue) Explain(ctx context.Context, id job.ID) (api.Explanation, error) {
	e, err := b.Queue.Explain(ctx, id)
	if e.ExpectedStart == nil {
		at := time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC)
		e.ExpectedStart = &at
	}
	return e, err
}

// scenario is a system whose wire is recorded.
type scenario struct {
	*system
	*switches
	t     *testing.T
	agent *agent
}

// playScenario makes everything happen that the document speaks of.
func playScenario(t *testing.T, record *recorder) {
	spot := 0.01
	broken := &switches{}
	s := start(t, func(o *setUp) {
		o.transport, o.wait, o.waiting = record, 2*time.Second, 4
		o.wrapStore = func(db store.Store) store.Store { return brokenStore{db, broken} }
		o.wrapQueue = func(q Queue) Queue { return brokenQueue{q, broken} }
		o.wrapBackups = func(b Backups) Backups { return brokenBackups{b, broken} }
		o.wrapModels = func(m Models) Models { return newBrokenModels(t, m, broken) }
		o.prices = placement.Prices{"cpu": {OnDemand: 0.04, Spot: &spot}, "memory": {OnDemand: 0.01, Spot: &spot}}
		o.Prices = func(string) map[string]api.Price {
			return map[string]api.Price{"cpu": {OnDemand: 0.04, Spot: &spot}}
		}
	})
	// A client that was made before the routes were known needs them now.
	record.routes = func() []*route { return s.server.routes }
	sc := &scenario{system: s, switches: broken, t: t}
	sc.agent = s.openRegion(testRegion)
	sc.refusals()
	sc.submissions()
	sc.lists()
	sc.templates()
	sc.pipelines()
	sc.schedules()
	sc.webhooks()
	sc.keepsBackups()
	sc.keepsModels()
	sc.regions()
	sc.endpoints()
	sc.jobLife()
	sc.usesModels()
	sc.logs()
	sc.regionAnswers()
	sc.tokens()
	sc.eventStream()
	sc.storeDown()
	sc.open()
	sc.restored()
	sc.end()
}

func (sc *scenario) want(status int, response *http.Response, text string) {
	sc.t.Helper()
	if response.StatusCode != status {
		sc.t.Errorf("%s %s: %s, want %d: %.300s", response.Request.Method, response.Request.URL.Path, response.Status, status, text)
	}
}

func (sc *scenario) must(err error) {
	sc.t.Helper()
	if err != nil {
		sc.t.Fatal(err)
	}
}

func (sc *scenario) mustFail(status int, err error) {
	sc.t.Helper()
	if client.Status(err) != status {
		sc.t.Errorf("%v, want status %d", err, status)
	}
}

// refusals are the same for every route of a kind.
func (sc *scenario) refusals() {
	j := sc.submit()
	sc.must(errors.Join(func() error { _, err := sc.admin.CancelJob(sc.t.Context(), j.ID); return err }()))
	nobody := sc.secret(api.NewToken{Role: "invoker", Name: "nobody", Endpoints: []string{"other"}})
	speaker := sc.secret(api.NewToken{Role: "agent", Name: "speaker", Region: testRegion})
	for _, r := range sc.server.routes {
		path := strings.NewReplacer("{id}", j.ID, "{region}", testRegion, "{job}", j.ID, "{attempt}", "1", "{name}", "none", "{namespace}", "none", "{version}", "1").Replace(r.path)
		if len(r.roles) == 0 {
			continue
		}
		token := sc.token
		if !slices.Contains(r.roles, Admin) {
			token = speaker
		}
		send := func(status int, path string, headers map[string]string, body string) {
			if _, ok := headers["Authorization"]; !ok {
				headers["Authorization"] = "Bearer " + token
			}
			response, text := sc.raw(r.method, path, headers, body)
			sc.want(status, response, text)
		}
		send(401, path, map[string]string{"Authorization": ""}, "")
		send(403, path, map[string]string{"Authorization": "Bearer " + nobody}, "")
		if r.body != nil {
			send(415, path, map[string]string{"Content-Type": "text/html"}, "x")
			if r.body.limit > 0 {
				send(413, path, map[string]string{"Content-Type": r.body.contentTypes()[0]}, strings.Repeat(" ", int(r.body.limit)+1))
			}
			if r.body.types["application/json"] != nil {
				send(400, path, map[string]string{"Content-Type": "application/json"}, "{")
				send(422, path, map[string]string{"Content-Type": "application/json"}, `{"nonsense":1}`)
			}
		}
		headers := map[string]string{}
		if r.body != nil {
			headers["Content-Type"] = r.body.contentTypes()[len(r.body.types)-1]
		}
		if slices.ContainsFunc(r.params, func(p param) bool { return p.in == "query" }) {
			send(422, path+"?nonsense=1", headers, "")
			send(400, path+"?%zz", headers, "")
		}
	}
}

// richManifest uses whatever a demand can hold.
const richManifest = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"rich","labels":{"from":"manifest"}},"spec":{"template":{"spec":{
	"restartPolicy":"Never","nodeSelector":{"kubernetes.io/arch":"amd64"},
	"tolerations":[{"key":"gpu","operator":"Equal","value":"yes","effect":"NoSchedule"}],
	"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchExpressions":[
		{"key":"disk","operator":"In","values":["ssd"]}]}]}}},
	"containers":[{"name":"main","image":"busybox:1.36","resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]}}}}`

func rich() api.Submission {
	priority, retries := 5, 2
	return api.Submission{
		Manifest: json.RawMessage(richManifest), Namespace: "team-a", Priority: &priority, Labels: map[string]string{"team": "a"},
		Placement: &api.Placement{Regions: []string{testRegion, "eu-west-1"}, AvoidRegions: []string{"mars"}, CapacityType: "on-demand", MaxPricePerHour: 100},
		Retries:   &retries, Deadline: "1h", TTLAfterFinished: "24h", OnRegionLost: "wait", OnRegionLostLimit: "30m",
	}
}

func (sc *scenario) submissions() {
	ctx := sc.t.Context()
	for range 2 {
		_, _, err := sc.admin.Submit(ctx, rich(), "rich")
		sc.must(err)
	}
	_, _, err := sc.admin.Submit(ctx, hello(), "rich-2")
	sc.must(err)
	other := hello()
	other.Labels = map[string]string{"a": "b"}
	_, _, err = sc.admin.Submit(ctx, other, "rich-2")
	sc.mustFail(409, err)
	_, _, err = sc.admin.SubmitManifest(ctx, []byte(helloManifest), "")
	sc.must(err)
	bad := hello()
	bad.Deadline = "soon"
	_, err = sc.admin.SubmitBatch(ctx, []api.BatchItem{{Submission: rich(), IdempotencyKey: "in-a-batch"}, {Submission: bad}})
	sc.must(err)
	sc.limited.Store(true)
	_, _, err = sc.admin.Submit(ctx, hello(), "")
	sc.mustFail(429, err)
	sc.limited.Store(false)
}

func (sc *scenario) lists() {
	ctx := sc.t.Context()
	page, err := sc.admin.Jobs(ctx, client.JobFilter{Limit: 1})
	sc.must(err)
	_, err = sc.admin.Jobs(ctx, client.JobFilter{Limit: 1, Cursor: page.NextCursor})
	sc.must(err)
	_, err = sc.admin.Jobs(ctx, client.JobFilter{Limit: 1, Cursor: page.NextCursor, Region: "elsewhere"})
	sc.mustFail(400, err)
	filter := client.JobFilter{Namespace: "team-a", States: []string{"queued", "placed"}, Region: testRegion, Labels: map[string]string{"team": "a"}}
	_, err = sc.admin.Jobs(ctx, filter)
	sc.must(err)
	_, err = sc.admin.Stats(ctx)
	sc.must(err)
}

func (sc *scenario) regions() {
	ctx := sc.t.Context()
	node := api.NodeShape{
		Count: 2, Free: bigNode(), Total: bigNode(), Architecture: "amd64", Labels: map[string]string{"disk": "ssd", "kubernetes.io/arch": "amd64"},
		Taints: []capacity.Taint{{Key: "gpu", Value: "yes", Effect: "NoSchedule"}},
	}
	plain := node
	plain.Taints = nil
	sc.agent.sync(api.SyncRequest{
		Capacity:         &api.Snapshot{Nodes: []api.NodeShape{node, plain}, Provisionable: []api.NodeShape{node}},
		CapacityFailures: []api.CapacityFailure{{Resource: "nvidia.com/gpu", Kind: "no-capacity", Message: "none left"}},
		Inventory:        &api.Inventory{After: "0", Through: "f", Items: []api.AttemptRef{}, Last: true},
	})
	for _, do := range []func(context.Context, string) (api.Region, error){sc.admin.Cordon, sc.admin.Drain, sc.admin.Uncordon} {
		_, err := do(ctx, testRegion)
		sc.must(err)
		_, err = do(ctx, "nowhere")
		sc.mustFail(404, err)
	}
	_, err := sc.admin.WriteOff(ctx, testRegion)
	sc.mustFail(409, err)
	_, err = sc.admin.WriteOff(ctx, "nowhere")
	sc.mustFail(404, err)
	for _, verb := range []string{"cordon", "uncordon", "drain", "write-off"} {
		response, text := sc.raw(post, "/api/v1/regions/"+testRegion+"/"+verb, nil, "a body")
		sc.want(400, response, text)
	}
	_, err = sc.admin.Region(ctx, "nowhere")
	sc.mustFail(404, err)
	// Another region that was lost while its cluster was out of reach.
	lost := sc.openRegion("eu-west-1")
	lost.sync(api.SyncRequest{Unreachable: true})
	_, err = sc.admin.Region(ctx, "eu-west-1")
	sc.must(err)
	record, err := sc.store.Region(ctx, "eu-west-1")
	sc.must(err)
	_, err = sc.store.ExpireSession(ctx, record.Name, record.Epoch, record.Renewals, time.Now())
	sc.must(err)
	_, err = sc.admin.Regions(ctx)
	sc.must(err)
	_, err = sc.admin.Region(ctx, testRegion)
	sc.must(err)

	stale := api.SyncRequest{Cluster: "cluster-" + testRegion, Session: "another", Epoch: 1, Sequence: 1}
	_, err = sc.agent.Sync(ctx, testRegion, stale)
	sc.mustFail(409, err)
}

// claimJob syncs until the job is started, whatever else is.
func (sc *scenario) claimJob(id string) api.AttemptRef {
	sc.t.Helper()
	for range 20 {
		for _, start := range sc.agent.sync(api.SyncRequest{MaxStart: 10, WaitSeconds: 1}).Start {
			if start.JobID == id {
				return start.AttemptRef
			}
		}
	}
	sc.t.Fatalf("job %s was not started", id)
	return api.AttemptRef{}
}

func (sc *scenario) jobLife() {
	ctx := sc.t.Context()
	unknown := string(job.NewID())
	for _, call := range []func(string) error{
		func(id string) error { _, err := sc.admin.Job(ctx, id); return err },
		func(id string) error { return sc.admin.DeleteJob(ctx, id) },
		func(id string) error { _, err := sc.admin.CancelJob(ctx, id); return err },
		func(id string) error { _, err := sc.admin.RetryJob(ctx, id); return err },
		func(id string) error { _, err := sc.admin.ExplainJob(ctx, id); return err },
		func(id string) error { _, err := sc.admin.Pods(ctx, id); return err },
		func(id string) error { _, err := sc.admin.ClusterEvents(ctx, id); return err },
		func(id string) error { _, err := sc.admin.Logs(ctx, id, client.LogOptions{}); return err },
	} {
		sc.mustFail(404, call(unknown))
	}
	j, _, err := sc.admin.Submit(ctx, rich(), "")
	sc.must(err)
	for _, verb := range []string{"cancel", "retry"} {
		response, text := sc.raw(post, "/api/v1/jobs/"+j.ID+"/"+verb, nil, "a body")
		sc.want(400, response, text)
	}
	sc.mustFail(409, sc.admin.DeleteJob(ctx, j.ID))
	_, err = sc.admin.RetryJob(ctx, j.ID)
	sc.mustFail(409, err)
	ref := sc.claimJob(j.ID)
	_, err = sc.admin.ExplainJob(ctx, j.ID)
	sc.must(err)
	sc.agent.sync(api.SyncRequest{Known: []api.AttemptRef{ref}})
	now := time.Now().UTC()
	exit := 1
	sc.agent.report(ref, "running")
	_, err = sc.admin.Job(ctx, j.ID)
	sc.must(err)
	sc.wait(j.ID)
	sc.agent.sync(api.SyncRequest{Observations: []api.Observation{{
		AttemptRef: ref, Phase: "failed", Reason: "error", Message: "it broke", ExitCode: &exit, StartedAt: &now, FinishedAt: &now,
		Result: "loss=0.25\n",
	}}})
	_, err = sc.admin.Job(ctx, j.ID)
	sc.must(err)

	// One that is given back for want of capacity, one that is stopped.
	released, _, err := sc.admin.Submit(ctx, rich(), "")
	sc.must(err)
	ref = sc.claimJob(released.ID)
	sc.agent.sync(api.SyncRequest{Observations: []api.Observation{{
		AttemptRef: ref, Phase: "released", CapacityFailure: &api.CapacityFailure{Resource: "nvidia.com/gpu", Kind: "quota", Message: "ask for more"},
	}}})
	stopped := sc.submit()
	ref = sc.claimJob(stopped.ID)
	sc.agent.report(ref, "running")
	_, err = sc.admin.CancelJob(ctx, stopped.ID)
	sc.must(err)
	if response := sc.agent.sync(api.SyncRequest{WaitSeconds: 1}); len(response.Stop) == 0 {
		sc.t.Error("nothing to stop")
	}
	sc.agent.report(ref, "stopped")
	_, err = sc.admin.CancelJob(ctx, stopped.ID)
	sc.mustFail(409, err)
	retry, err := sc.admin.RetryJob(ctx, stopped.ID)
	sc.must(err)
	_, err = sc.admin.ExplainJob(ctx, retry.ID)
	sc.must(err)
	sc.limited.Store(true)
	_, err = sc.admin.RetryJob(ctx, stopped.ID)
	sc.mustFail(429, err)
	sc.limited.Store(false)
	sc.must(sc.admin.DeleteJob(ctx, stopped.ID))
	sc.waiting()
}

// wait lets the job sit out the loss of its region, and return.
func (sc *scenario) wait(id string) {
	for _, kind := range []job.EventKind{job.RegionLost, job.RegionReturned} {
		before, err := sc.store.Job(sc.t.Context(), job.ID(id))
		sc.must(err)
		after, transition, err := before.Apply(job.Event{Kind: kind, Reason: "region-lost"}, time.Now())
		sc.must(err)
		errs, err := sc.store.Commit(sc.t.Context(), nil, []store.Change{{Job: after, Transition: transition}})
		sc.must(errors.Join(err, errs[0]))
		_, err = sc.admin.Job(sc.t.Context(), id)
		sc.must(err)
	}
}

// waiting jobs have a reason, and the head of the queue is held a place.
func (sc *scenario) waiting() {
	ctx := sc.t.Context()
	nowhere := hello()
	nowhere.Placement = &api.Placement{Regions: []string{"nowhere"}}
	first, _, err := sc.admin.Submit(ctx, nowhere, "")
	sc.must(err)
	_, err = sc.admin.ExplainJob(ctx, first.ID)
	sc.must(err)
	price := 0.5
	decision, err := json.Marshal(api.Decision{
		Region: testRegion, Reserved: true, Omitted: 1,
		Candidates: []api.Candidate{{Region: testRegion, Score: 1, Terms: []api.Term{{Name: "price", Value: 1, Weight: 1}}, PricePerHour: &price}},
		Rejections: []api.Rejection{{Region: "eu-west-1", Reason: "unhealthy", Message: "its lease is lost"}},
	})
	sc.must(err)
	before, err := sc.store.Job(ctx, job.ID(first.ID))
	sc.must(err)
	after, transition, err := before.Apply(job.Event{Kind: job.Place, Region: "nowhere", Decision: decision}, time.Now())
	sc.must(err)
	errs, err := sc.store.Commit(ctx, nil, []store.Change{{Job: after, Transition: transition}})
	sc.must(errors.Join(err, errs[0]))
	_, err = sc.admin.Job(ctx, first.ID)
	sc.must(err)
}

// answerFromRegion answers the next request of the kind.
func (sc *scenario) answerFromRegion(contentType, body string) <-chan error {
	done := make(chan error, 1)
	go func() { done <- sc.agent.answerNext(contentType, strings.NewReader(body)) }()
	return done
}

func (sc *scenario) logs() {
	ctx := sc.t.Context()
	j := sc.submit()
	_, err := sc.admin.Logs(ctx, j.ID, client.LogOptions{})
	sc.mustFail(404, err)
	ref := sc.claimJob(j.ID)
	sc.agent.report(ref, "running")
	for _, err := range sc.askAll(j.ID, func() {}) {
		if status := client.Status(err); status != 504 {
			sc.t.Errorf("a silent region: %v", err)
		}
	}
	sc.mustFail(404, sc.agent.Answer(ctx, testRegion, api.Request{ID: "unknown"}, client.TypeText, strings.NewReader("x")))
	done := sc.answerFromRegion(client.TypeText, "live\n")
	sc.readLogs(j.ID, client.LogOptions{
		Attempt: 1, Container: "main", Follow: true, Tail: 3, Since: time.Now().Add(-time.Hour), Timestamps: true,
	})
	sc.must(<-done)
	sc.busy(j.ID)
	sc.gone(j.ID)
	sc.agent.report(ref, "succeeded")
	line := "2026-03-01T10:00:00Z hello-0/main done\n"
	sc.must(sc.agent.ArchiveLogs(ctx, testRegion, ref, true, strings.NewReader(line)))
	sc.readLogs(j.ID, client.LogOptions{})
	sc.mustFail(404, sc.agent.ArchiveLogs(ctx, testRegion, api.AttemptRef{JobID: j.ID, Attempt: 9}, false, strings.NewReader(line)))
	sc.down.Store(true)
	sc.mustFail(503, sc.agent.ArchiveLogs(ctx, testRegion, ref, false, strings.NewReader(line)))
	sc.down.Store(false)

	lost := sc.submit()
	ref = sc.claimJob(lost.ID)
	sc.agent.report(ref, "running", "lost")
	_, err = sc.admin.Logs(ctx, lost.ID, client.LogOptions{Attempt: 1})
	sc.mustFail(410, err)
	sc.cutBodies(ref)
}

func (sc *scenario) readLogs(id string, options client.LogOptions) {
	sc.t.Helper()
	logs, err := sc.admin.Logs(sc.t.Context(), id, options)
	sc.must(err)
	_, err = io.ReadAll(logs)
	sc.must(errors.Join(err, logs.Close()))
}

// askAll asks the region all that it can be asked, at once.
func (sc *scenario) askAll(id string, meanwhile func()) []error {
	ctx := sc.t.Context()
	errs := make([]error, 3)
	var all sync.WaitGroup
	all.Go(func() { _, errs[0] = sc.admin.Logs(ctx, id, client.LogOptions{}) })
	all.Go(func() { _, errs[1] = sc.admin.Pods(ctx, id) })
	all.Go(func() { _, errs[2] = sc.admin.ClusterEvents(ctx, id) })
	meanwhile()
	all.Wait()
	return errs
}

// busy keeps the region's line of waiting clients full.
func (sc *scenario) busy(id string) {
	ctx, cancel := context.WithCancel(sc.t.Context())
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			for ctx.Err() == nil {
				_, _ = sc.broker.Ask(ctx, testRegion, api.Request{Kind: "pods"})
			}
		})
	}
	for _, call := range []func() error{
		func() error { _, err := sc.admin.Logs(ctx, id, client.LogOptions{}); return err },
		func() error { _, err := sc.admin.Pods(ctx, id); return err },
		func() error { _, err := sc.admin.ClusterEvents(ctx, id); return err },
	} {
		eventually(sc.t, func() bool { return client.Status(call()) == 429 })
	}
	cancel()
	all.Wait()
}

// gone is an agent's answer to a client that has left.
func (sc *scenario) gone(id string) {
	body, _ := io.Pipe()
	answered := make(chan error, 1)
	go func() { answered <- sc.agent.answerNext(client.TypeText, body) }()
	logs, err := sc.admin.Logs(sc.t.Context(), id, client.LogOptions{Follow: true})
	sc.must(err)
	logs.Close()
	sc.mustFail(410, <-answered)
}

// cutBodies sends half of what was announced, on a bare connection.
func (sc *scenario) cutBodies(ref api.AttemptRef) {
	base := "/api/v1/regions/" + testRegion
	speaker := sc.secret(api.NewToken{Role: "agent", Name: "cutter", Region: testRegion})
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer, err := sc.broker.Ask(sc.t.Context(), testRegion, api.Request{Kind: "logs"})
		if err != nil {
			sc.t.Error(err)
			return
		}
		if _, err := io.ReadAll(answer); !errors.Is(err, joblog.ErrCut) {
			sc.t.Errorf("half an answer ended with %v", err)
		}
		answer.Close()
	}()
	id := ""
	eventually(sc.t, func() bool {
		for _, request := range sc.broker.Requests(testRegion) {
			id = request.ID
		}
		return id != ""
	})
	for method, path := range map[string]string{
		post: base + "/requests/" + id,
		put:  fmt.Sprintf("%s/attempts/%s/%d/logs", base, ref.JobID, ref.Attempt),
	} {
		sc.sendHalf(method, path, speaker)
	}
	<-done
}

func (sc *scenario) sendHalf(method, path, token string) {
	sc.t.Helper()
	target, err := url.Parse(sc.url)
	sc.must(err)
	conn, err := net.Dial("tcp", target.Host)
	sc.must(err)
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf", method, path, token)
	sc.must(conn.(*net.TCPConn).CloseWrite())
	request, err := http.NewRequestWithContext(sc.t.Context(), method, sc.url+path, nil)
	sc.must(err)
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	sc.must(err)
	text, err := io.ReadAll(response.Body)
	sc.must(err)
	sc.want(400, response, string(text))
	sc.http.Transport.(*recorder).add(request, &exchange{status: response.StatusCode, header: response.Header, requestHeader: http.Header{}}, text)
}

func (sc *scenario) regionAnswers() {
	ctx := sc.t.Context()
	j := sc.submit()
	ref := sc.claimJob(j.ID)
	sc.agent.report(ref, "running")
	one, now := 1, time.Now().UTC()
	pods, err := json.Marshal([]api.Pod{{
		Name: "p-0", Attempt: 1, Phase: "Failed", Node: "n", StartedAt: &now, FinishedAt: &now,
		Containers: []api.Container{{Name: "main", Init: true, State: "terminated", ExitCode: &one, Reason: "Error", Restarts: 1}},
	}})
	sc.must(err)
	done := sc.answerFromRegion(client.TypeJSON, string(pods))
	_, err = sc.admin.Pods(ctx, j.ID)
	sc.must(errors.Join(err, <-done))
	said, err := json.Marshal([]api.ClusterEvent{{At: now, Type: "Warning", Reason: "Failed", Object: "pod/p-0", Message: "it broke", Count: 2}})
	sc.must(err)
	done = sc.answerFromRegion(client.TypeJSON, string(said))
	_, err = sc.admin.ClusterEvents(ctx, j.ID)
	sc.must(errors.Join(err, <-done))
	problem, err := json.Marshal(api.Problem{Type: api.ProblemNotHeld, Title: "Not held", Status: 404, Detail: "no such attempt"})
	sc.must(err)
	done = sc.answerFromRegion(client.TypeProblem, string(problem))
	_, err = sc.admin.Pods(ctx, j.ID)
	sc.mustFail(404, err)
	sc.must(<-done)
}

func (sc *scenario) tokens() {
	ctx := sc.t.Context()
	_, err := sc.admin.CreateToken(ctx, api.NewToken{Name: "region", Role: "agent", Region: testRegion})
	sc.must(err)
	_, err = sc.admin.CreateToken(ctx, api.NewToken{Name: "user", Role: "invoker", Endpoints: []string{"llm"}})
	sc.must(err)
	sc.must(sc.admin.MayInvoke(ctx, sc.token, "llm"))
	created, err := sc.admin.CreateToken(ctx, api.NewToken{Name: "viewer", Role: "viewer", Namespaces: []string{"team-a"}, ExpiresIn: "1h"})
	sc.must(err)
	_, err = sc.admin.CreateToken(ctx, api.NewToken{Name: "viewer", Role: "viewer"})
	sc.mustFail(409, err)
	list, err := sc.admin.Tokens(ctx)
	sc.must(err)
	_, err = sc.admin.Token(ctx, created.ID)
	sc.must(err)
	_, err = sc.admin.Token(ctx, "unknown")
	sc.mustFail(404, err)
	sc.mustFail(404, sc.admin.DeleteToken(ctx, "unknown"))
	sc.mustFail(409, sc.admin.DeleteToken(ctx, list.Items[slices.IndexFunc(list.Items, func(t api.Token) bool { return t.Role == "admin" })].ID))
	sc.down.Store(true)
	sc.mustFail(503, sc.admin.DeleteToken(ctx, created.ID))
	sc.down.Store(false)
	sc.must(sc.admin.DeleteToken(ctx, created.ID))
}

func (sc *scenario) eventStream() {
	ctx := sc.t.Context()
	drain := func(filter client.EventFilter) {
		sc.t.Helper()
		filter.Once = true
		events, err := sc.admin.Events(ctx, filter)
		sc.must(err)
		defer events.Close()
		for {
			if _, err := events.Next(); err != nil {
				if !errors.Is(err, io.EOF) {
					sc.t.Error(err)
				}
				return
			}
		}
	}
	drain(client.EventFilter{})
	drain(client.EventFilter{Namespace: "team-a", Job: string(job.NewID()), Types: []string{"job.*"}, Oldest: true})
	incarnation, err := sc.store.Incarnation(ctx)
	sc.must(err)
	drain(client.EventFilter{After: writeEventCursor(incarnation, 0)})
	_, err = sc.admin.Events(ctx, client.EventFilter{After: writeEventCursor("another", 0)})
	sc.mustFail(410, err)
}

func (sc *scenario) storeDown() {
	ctx := sc.t.Context()
	finished := sc.submit()
	_, err := sc.admin.CancelJob(ctx, finished.ID)
	sc.must(err)
	sc.down.Store(true)
	defer sc.down.Store(false)
	sc.agent.sequence++
	for _, call := range []func() error{
		func() error { _, _, err := sc.admin.Submit(ctx, hello(), ""); return err },
		func() error { return sc.admin.DeleteJob(ctx, finished.ID) },
		func() error { _, err := sc.admin.CancelJob(ctx, finished.ID); return err },
		func() error { _, err := sc.admin.RetryJob(ctx, finished.ID); return err },
		func() error { _, err := sc.admin.Cordon(ctx, testRegion); return err },
		func() error { _, err := sc.admin.Uncordon(ctx, testRegion); return err },
		func() error { _, err := sc.admin.Drain(ctx, testRegion); return err },
		func() error { _, err := sc.admin.WriteOff(ctx, testRegion); return err },
		func() error { _, err := sc.admin.CreateToken(ctx, api.NewToken{Name: "x", Role: "admin"}); return err },
		func() error { _, err := sc.agent.Sync(ctx, testRegion, api.SyncRequest{Cluster: "c"}); return err },
		func() error { return sc.admin.Ready(ctx) },
	} {
		sc.mustFail(503, call())
	}
	health, err := sc.admin.Health(ctx)
	sc.must(err)
	if health.Status != "failed" {
		sc.t.Errorf("health %+v", health)
	}
}

func (sc *scenario) open() {
	for _, path := range []string{"/healthz", "/metrics", "/docs", "/openapi.json", "/api/v1/health"} {
		response, text := sc.raw(get, path, nil, "")
		sc.want(200, response, text)
	}
	eventually(sc.t, func() bool { return sc.admin.Ready(sc.t.Context()) == nil })
}

// end stops the server while clients wait for a region, and an agent for a
// client.
func (sc *scenario) end() {
	j := sc.submit()
	sc.agent.report(sc.claimJob(j.ID), "running")
	body, _ := io.Pipe()
	answered := make(chan error, 1)
	go func() { answered <- sc.agent.answerNext(client.TypeText, body) }()
	logs, err := sc.admin.Logs(sc.t.Context(), j.ID, client.LogOptions{Follow: true})
	sc.must(err)
	defer logs.Close()
	errs := sc.askAll(j.ID, func() {
		seen := 0
		eventually(sc.t, func() bool {
			seen += len(sc.broker.Requests(testRegion))
			return seen == 3
		})
		sc.stop()
	})
	for _, err := range append(errs, <-answered) {
		sc.mustFail(503, err)
	}
}
