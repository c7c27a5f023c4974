package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/backup"
	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/flow"
	"github.com/gco-project/gco/internal/joblog"
	"github.com/gco-project/gco/internal/manifest"
	"github.com/gco-project/gco/internal/model/registry"
	"github.com/gco-project/gco/internal/placement"
	"github.com/gco-project/gco/internal/queue"
	"github.com/gco-project/gco/internal/serving"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
	"github.com/gco-project/gco/internal/webhook"
)

const testRegion = "us-east-1"

// system is a whole control plane that serves on a loopback port: the real
// store, the real queue, the real server.
type system struct {
	t        testing.TB
	store    store.Store
	queue    *queue.Queue
	flow     *flow.Flow
	serving  *serving.Serving
	webhooks *webhook.Outbox
	broker   *joblog.Broker
	archive  *joblog.Archive
	server   *Server
	metrics  *prometheus.Registry
	log      *logBuffer
	logDir   string
	bucket   *blob.Bucket
	url      string
	http     *http.Client
	// token is the first admin's, and admin its client.
	token string
	admin *client.Client
	stop  func()
}

// options of a system; change them before it starts.
type setUp struct {
	Options
	limits queue.Limits
	clock  clock.WithTicker
	// wrap replaces what the server sees of the store or the queue.
	wrapStore func(store.Store) store.Store
	wrapQueue func(Queue) Queue
	// wrapBackups does that for the keeper of backups.
	wrapBackups func(Backups) Backups
	// wrapModels does that for the model registry.
	wrapModels func(Models) Models
	prices     placement.Prices
	// webhooks is how many there may be; 0 is enough.
	webhooks  int
	transport http.RoundTripper
	noLoops   bool
	wait      time.Duration
	waiting   int
}

func start(t testing.TB, change ...func(*setUp)) *system {
	t.Helper()
	set := setUp{wrapStore: func(s store.Store) store.Store { return s }, wrapQueue: func(q Queue) Queue { return q }, wrapBackups: func(b Backups) Backups { return b }, wrapModels: func(m Models) Models { return m }}
	for _, f := range change {
		f(&set)
	}
	s := &system{t: t, metrics: prometheus.NewRegistry(), log: &logBuffer{}}
	log := slog.New(slog.NewJSONHandler(s.log, nil))
	db, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "gco.db"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.store = db
	s.logDir = filepath.Join(t.TempDir(), "logs")
	if s.bucket, err = blob.OpenDir(s.logDir); err != nil {
		t.Fatal(err)
	}
	s.archive = joblog.NewArchive(s.bucket, 0)
	policy := manifest.DefaultPolicy()
	policy.AllowedNamespaces = []string{"default", "team-a", "team-b"}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + listener.Addr().String()
	s.http = &http.Client{Transport: cmp.Or(set.transport, http.DefaultTransport)}
	s.broker = joblog.NewBroker(joblog.BrokerOptions{
		Wake: func(region string) { s.queue.Wake(region) }, Wait: set.wait, Waiting: set.waiting, Server: s.url,
	})
	over := set.wrapStore(db)
	s.serving = serving.New(serving.Options{
		Store: over, Log: log, Placement: placement.DefaultPolicy(), Clock: set.clock,
		Leading: func() bool { return s.queue.Leading() }, Wake: func(region string) { s.queue.Wake(region) },
	})
	models := registry.New(registry.Options{Bucket: s.bucket, Log: log})
	s.queue = queue.New(queue.Options{
		Model: ModelFinder(models),
		Store: db, Log: log, Holder: "only", Admission: policy, Placement: placement.DefaultPolicy(),
		Limits: set.limits, Timing: queue.LocalTiming, Requests: s.broker.Requests, Clock: set.clock,
		Prices: map[string]placement.Prices{testRegion: set.prices}, Endpoints: s.serving,
	})
	options := set.Options
	options.Store, options.Queue = over, set.wrapQueue(s.queue)
	s.flow = flow.New(flow.Options{Store: options.Store, Queue: s.queue, Clock: set.clock, Log: log})
	options.Flow, options.Serving = s.flow, s.serving
	s.webhooks = s.outbox(options.Store, log, set.webhooks)
	options.Webhooks = s.webhooks
	options.Broker, options.Archive = s.broker, s.archive
	options.Backups = set.wrapBackups(s.keeper(db, log))
	options.Models = set.wrapModels(models)
	options.Log, options.Metrics, options.Clock = log, s.metrics, set.clock
	options.Version = api.Version{Version: "test", Commit: "none", Go: "go"}
	if s.server, err = New(options); err != nil {
		t.Fatal(err)
	}
	if s.token, err = Bootstrap(t.Context(), db, time.Now()); err != nil {
		t.Fatal(err)
	}
	s.serve(listener, set.noLoops)
	s.admin = s.client(s.token)
	return s
}

// outbox delivers to loopback, and tries twice.
func (s *system) outbox(over store.Store, log *slog.Logger, limit int) *webhook.Outbox {
	s.t.Helper()
	incarnation, err := over.Incarnation(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return webhook.New(webhook.Options{
		Store: over, Log: log, Leading: s.queue.Leading, Watch: s.queue.Watch,
		Encode: func(e store.Event) ([]byte, error) { return EncodeEvent(e, incarnation) },
		Settings: webhook.Settings{
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Limit: cmp.Or(limit, 100), Timeout: 5 * time.Second,
			Retries: []time.Duration{time.Hour}, Concurrency: 16, PerWebhook: 4, PerHost: 8,
			PauseAfter: time.Hour, PauseBacklog: 1000, KeepDeliveries: time.Hour,
		},
	})
}

// keeper keeps backups of the database in a directory.
func (s *system) keeper(db *sqlite.Store, log *slog.Logger) *backup.Keeper {
	s.t.Helper()
	vault, err := backup.OpenVault(s.t.Context(), s.t.TempDir())
	if err != nil {
		s.t.Fatal(err)
	}
	keeper, err := backup.NewKeeper(backup.KeeperOptions{
		Source: db, Vault: vault, Scratch: filepath.Join(s.t.TempDir(), "scratch"), Clock: clock.RealClock{}, Log: log,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := errors.Join(keeper.Close(), vault.Close()); err != nil {
			s.t.Errorf("closing the vault: %v", err)
		}
	})
	return keeper
}

// serve runs the server and the queue's loops until the test ends.
func (s *system) serve(listener net.Listener, noLoops bool) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.server.Run(ctx, listener, nil); err != nil {
			s.t.Errorf("the server ended with %v", err)
		}
	})
	if !noLoops {
		running.Go(func() { _ = s.queue.Run(ctx) })
		running.Go(func() { _ = s.flow.Run(ctx) })
		running.Go(func() { _ = s.serving.Run(ctx) })
		running.Go(func() { _ = s.webhooks.Run(ctx) })
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	s.t.Cleanup(func() {
		s.stop()
		if err := errors.Join(s.bucket.Close(), s.store.Close()); err != nil {
			s.t.Errorf("closing: %v", err)
		}
	})
}

func (s *system) client(token string) *client.Client {
	s.t.Helper()
	c, err := client.New(s.url, token, client.WithAttempts(1), client.WithTransport(s.http.Transport))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}

// as returns a client with a new token.
func (s *system) as(request api.NewToken) *client.Client {
	s.t.Helper()
	return s.client(s.secret(request))
}

func (s *system) secret(request api.NewToken) string {
	s.t.Helper()
	if request.Name == "" {
		request.Name = fmt.Sprintf("%s-%d", request.Role, time.Now().UnixNano())
	}
	created, err := s.admin.CreateToken(s.t.Context(), request)
	if err != nil {
		s.t.Fatal(err)
	}
	return created.Secret
}

// submit stores a job as the admin.
func (s *system) submit(change ...func(*api.Submission)) api.Job {
	s.t.Helper()
	submission := hello()
	for _, f := range change {
		f(&submission)
	}
	j, _, err := s.admin.Submit(s.t.Context(), submission, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

// agent is the region's agent in the hand of a test.
type agent struct {
	*client.Client
	system   *system
	region   string
	sequence int64
	session  api.SyncResponse
}

// openRegion opens a session and makes the region fit for work.
func (s *system) openRegion(region string) *agent {
	s.t.Helper()
	a := &agent{Client: s.as(api.NewToken{Role: "agent", Region: region, Name: "agent-" + region}), system: s, region: region}
	a.open()
	a.sync(api.SyncRequest{
		Capacity:  &api.Snapshot{Nodes: []api.NodeShape{{Count: 4, Free: bigNode(), Total: bigNode(), Architecture: "amd64"}}},
		Inventory: &api.Inventory{Items: []api.AttemptRef{}, Last: true},
	})
	return a
}

func (a *agent) open() {
	a.system.t.Helper()
	response, err := a.Sync(a.system.t.Context(), a.region, api.SyncRequest{Cluster: "cluster-" + a.region})
	if err != nil {
		a.system.t.Fatal(err)
	}
	a.session, a.sequence = response, 0
}

func (a *agent) trySync(request api.SyncRequest) (api.SyncResponse, error) {
	a.sequence++
	request.Cluster, request.Session, request.Epoch, request.Sequence = "cluster-"+a.region, a.session.Session, a.session.Epoch, a.sequence
	return a.Sync(a.system.t.Context(), a.region, request)
}

func (a *agent) sync(request api.SyncRequest) api.SyncResponse {
	a.system.t.Helper()
	response, err := a.trySync(request)
	if err != nil {
		a.system.t.Fatal(err)
	}
	return response
}

// claim waits until the region is given something to start.
func (a *agent) claim() api.AttemptRef {
	a.system.t.Helper()
	for range 20 {
		if response := a.sync(api.SyncRequest{MaxStart: 1, WaitSeconds: 3}); len(response.Start) > 0 {
			return response.Start[0].AttemptRef
		}
	}
	a.system.t.Fatal("the region was given nothing to start")
	return api.AttemptRef{}
}

func (a *agent) report(ref api.AttemptRef, phases ...string) {
	a.system.t.Helper()
	for _, phase := range phases {
		a.sync(api.SyncRequest{Observations: []api.Observation{{AttemptRef: ref, Phase: phase}}})
	}
}

// answerNext waits for the next request to the region and answers it.
func (a *agent) answerNext(contentType string, body io.Reader) error {
	for {
		response, err := a.trySync(api.SyncRequest{WaitSeconds: 3})
		if err != nil {
			return err
		}
		if len(response.Requests) > 0 {
			return a.Answer(a.system.t.Context(), a.region, response.Requests[0], contentType, body)
		}
	}
}

func bigNode() capacity.Resources {
	return capacity.Resources{"cpu": 64_000, "memory": 256 << 30, "pods": 110}
}

const helloManifest = `{"apiVersion":"batch/v1","kind":"Job","metadata":{"name":"hello"},"spec":{"template":{"spec":{` +
	`"restartPolicy":"Never","containers":[{"name":"main","image":"busybox:1.36","command":["echo","hello"],` +
	`"resources":{"requests":{"cpu":"100m","memory":"64Mi"}}}]}}}}`

func hello() api.Submission { return api.Submission{Manifest: json.RawMessage(helloManifest)} }

// raw makes a request without the client's help.
func (s *system) raw(method, path string, headers map[string]string, body string) (*http.Response, string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+s.token)
	for name, value := range headers {
		request.Header.Set(name, value)
		if value == "" {
			request.Header.Del(name)
		}
	}
	response, err := s.http.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response, string(text)
}

// problemIn reads a problem, and fails where the answer is none.
func problemIn(t *testing.T, response *http.Response, text string) api.Problem {
	t.Helper()
	if contentType := response.Header.Get("Content-Type"); contentType != "application/problem+json" {
		t.Fatalf("%s with %q is no problem: %s", response.Status, contentType, text)
	}
	var p api.Problem
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.Status != response.StatusCode || p.Type == "" || p.Title == "" || p.Detail == "" {
		t.Errorf("%s with %+v", response.Status, p)
	}
	return p
}

// logBuffer keeps what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
