package e2e

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// hookConfig tries again soon, and gives a claim up soon after a crash.
const hookConfig = `webhooks:
  allowNetworks: [127.0.0.0/8]
  timeout: 1s
  retries: [%s]
`

// listener is a receiver that verifies what it gets, and notes faults.
type listener struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	verifier *standardwebhooks.Webhook
	// failing is the share of deliveries that it refuses.
	failing float64
	// tries counts what came, taken what it answered with 200, by event ID.
	tries, taken map[string]int
	bodies       map[string]string
}

func newListener(t *testing.T, failing float64) *listener {
	t.Helper()
	l := &listener{t: t, failing: failing, tries: map[string]int{}, taken: map[string]int{}, bodies: map[string]string{}}
	l.Server = httptest.NewServer(l)
	t.Cleanup(l.Close)
	return l
}

// ServeHTTP takes one delivery, or refuses it.
func (l *listener) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		// The sender died while it sent.
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.verifier.Verify(body, r.Header); err != nil {
		l.t.Errorf("a delivery does not verify: %v", err)
	}
	id := r.Header.Get("webhook-id")
	if before, ok := l.bodies[id]; ok && before != string(body) {
		l.t.Errorf("%s came as %s and as %s", id, before, body)
	}
	l.bodies[id] = string(body)
	subject, number := split(id)
	if number > 1 && l.taken[fmt.Sprintf("%s/%d", subject, number-1)] == 0 {
		l.t.Errorf("%s came before the one before it was taken", id)
	}
	l.tries[id]++
	if rand.Float64() < l.failing {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	l.taken[id]++
}

// split parts an event's ID into its subject and number.
func split(id string) (subject string, number int) {
	at := strings.LastIndexByte(id, '/')
	number, _ = strconv.Atoi(id[at+1:])
	return id[:at], number
}

// hookedServer is a control plane alone, which tries deliveries again after
// retries.
func hookedServer(t *testing.T, dir, retries string) *roles {
	t.Helper()
	c := &roles{dir: dir, config: filepath.Join(dir, "gco.yaml")}
	if err := os.WriteFile(c.config, fmt.Appendf(nil, hookConfig, retries), 0o600); err != nil {
		t.Fatal(err)
	}
	c.process = launch(t, dir, "server", "--dir", c.data(), "--listen", "127.0.0.1:0", "--config", c.config)
	c.connect(c.data(), client.WithAttempts(1))
	return c
}

// listen makes a webhook for all events of jobs.
func (l *listener) listen(s *roles) string {
	l.t.Helper()
	created, err := s.client.CreateWebhook(l.t.Context(), api.NewWebhook{URL: l.URL, Types: []string{"job.*"}})
	if err != nil {
		l.t.Fatal(err)
	}
	if l.verifier, err = standardwebhooks.NewWebhook(created.Secret); err != nil {
		l.t.Fatal(err)
	}
	return created.ID
}

// load submits and cancels jobs, 200 transitions a second, until ctx ends.
func (c *roles) load(ctx context.Context) {
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { c.loadSome(ctx) })
	}
	clients.Wait()
}

// loadSome makes a quarter of the load.
func (c *roles) loadSome(ctx context.Context) {
	const every, batch = 200 * time.Millisecond, 5
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for ctx.Err() == nil {
		items := make([]api.BatchItem, batch)
		for i := range items {
			items[i].Submission = script("work", "true")
		}
		// What fails is what a killed server answers.
		made, err := c.client.SubmitBatch(ctx, items)
		if err == nil {
			for _, item := range made.Items {
				if item.Job != nil {
					_, _ = c.client.CancelJob(ctx, item.Job.ID)
				}
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// drained waits until a webhook has no open delivery, and nothing is left to
// dispatch.
func (c *roles) drained(webhook string, l *listener, want int) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		w, err := c.client.Webhook(c.t.Context(), webhook)
		if err != nil {
			c.t.Fatal(err)
		}
		l.mu.Lock()
		got := len(l.taken)
		l.mu.Unlock()
		if w.OpenDeliveries == 0 && got >= want {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%d deliveries are open and %d of %d events arrived after %s", w.OpenDeliveries, got, want, patience)
		}
		pause(20 * time.Millisecond)
	}
}

// transitions counts those of every job, by subject.
func (c *roles) transitions() (bySubject map[string]int, all int) {
	c.t.Helper()
	bySubject = map[string]int{}
	for job, err := range c.client.AllJobs(c.t.Context(), client.JobFilter{Limit: 1000}) {
		if err != nil {
			c.t.Fatal(err)
		}
		bySubject["job/"+job.ID] = int(job.Version)
		all += int(job.Version)
	}
	return bySubject, all
}

// TestKillServerWhileItDelivers kills the control plane at random moments
// under 200 transitions a second, with a receiver that refuses half of what it
// gets: every transition is delivered, those of a job in their order, none is
// invented, and repeats carry the same ID and body.
func TestKillServerWhileItDelivers(t *testing.T) {
	dir := t.TempDir()
	retries := strings.TrimSuffix(strings.Repeat("50ms, ", 50), ", ")
	l := newListener(t, 0.5)
	webhook := ""
	loaded := time.Duration(0)
	for range kills {
		s := hookedServer(t, dir, retries)
		if webhook == "" {
			webhook = l.listen(s)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var loading sync.WaitGroup
		loading.Go(func() { s.load(ctx) })
		begun := time.Now()
		pause(time.Duration(100+rand.IntN(500)) * time.Millisecond)
		s.kill()
		loaded += time.Since(begun)
		cancel()
		loading.Wait()
	}
	s := hookedServer(t, dir, retries)
	bySubject, all := s.transitions()
	if all < kills*10 {
		t.Fatalf("only %d transitions in %d rounds", all, kills)
	}
	s.drained(webhook, l, all)
	l.mu.Lock()
	defer l.mu.Unlock()
	repeats, refused := 0, 0
	for id, n := range l.taken {
		if subject, number := split(id); number < 1 || number > bySubject[subject] {
			t.Errorf("%s arrived, and %s has %d transitions", id, subject, bySubject[subject])
		}
		repeats += n - 1
		refused += l.tries[id] - n
	}
	if len(l.taken) != all {
		t.Errorf("%d of %d transitions arrived", len(l.taken), all)
	}
	t.Logf("%d transitions over %d kills, %.0f a second, all delivered in order after %d refusals; %d were taken again",
		all, kills, float64(all)/loaded.Seconds(), refused, repeats)
}

// TestFewRepeatsWithoutFaults counts what a receiver takes that never fails.
func TestFewRepeatsWithoutFaults(t *testing.T) {
	l := newListener(t, 0)
	s := hookedServer(t, t.TempDir(), "5s")
	webhook := l.listen(s)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	s.load(ctx)
	_, all := s.transitions()
	s.drained(webhook, l, all)
	l.mu.Lock()
	defer l.mu.Unlock()
	tries := 0
	for _, n := range l.tries {
		tries += n
	}
	if len(l.taken) != all || tries > all+all/100 {
		t.Errorf("%d transitions took %d tries", all, tries)
	}
	t.Logf("%d transitions in 8 s, %d tries", all, tries)
}
