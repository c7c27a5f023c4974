package joblog

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	clocktest "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/api"
)

const region = "us-east-1"

// newBroker returns a broker, and the wake-ups that it sent.
func newBroker() (*Broker, *clocktest.FakeClock, chan string) {
	clock := clocktest.NewFakeClock(time.Unix(0, 0))
	woken := make(chan string, 10)
	return NewBroker(BrokerOptions{Clock: clock, Wake: func(r string) { woken <- r }}), clock, woken
}

type asked struct {
	answer *Answer
	err    error
}

func ask(ctx context.Context, b *Broker) chan asked {
	done := make(chan asked, 1)
	go func() {
		answer, err := b.Ask(ctx, region, api.Request{Kind: "logs"})
		done <- asked{answer, err}
	}()
	return done
}

func TestBrokerCarriesAnAnswer(t *testing.T) {
	b, _, woken := newBroker()
	done := ask(t.Context(), b)
	if r := <-woken; r != region {
		t.Fatalf("woke %q", r)
	}
	requests := b.Requests(region)
	if len(requests) != 1 || requests[0].Kind != "logs" || requests[0].ID == "" {
		t.Fatalf("requests %+v", requests)
	}
	if other := b.Requests("eu-west-1"); len(other) != 0 {
		t.Errorf("another region got %+v", other)
	}
	answered := make(chan error, 1)
	body, agent := io.Pipe()
	go func() {
		answered <- b.Answer(t.Context(), region, requests[0].ID, Incoming{"text/plain", body, func() { body.Close() }})
	}()
	got := <-done
	if got.err != nil || got.answer.ContentType != "text/plain" {
		t.Fatalf("Ask = %+v", got)
	}
	// What the agent writes is there at once, not only at the end.
	for _, text := range []string{"one\n", "two\n"} {
		if _, err := io.WriteString(agent, text); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 100)
		if n, err := got.answer.Read(buffer); err != nil || string(buffer[:n]) != text {
			t.Fatalf("read %q, %v", buffer[:n], err)
		}
	}
	agent.Close()
	if rest, err := io.ReadAll(got.answer); err != nil || len(rest) > 0 {
		t.Errorf("the rest is %q, %v", rest, err)
	}
	got.answer.Close()
	if err := <-answered; err != nil {
		t.Errorf("Answer = %v", err)
	}
	if err := b.Answer(t.Context(), region, requests[0].ID, Incoming{}); !errors.Is(err, ErrNoRequest) {
		t.Errorf("a second answer: %v", err)
	}
}

func TestBrokerOffersAgainAfterALostAnswer(t *testing.T) {
	b, clock, woken := newBroker()
	ask(t.Context(), b)
	<-woken
	first := b.Requests(region)
	if again := b.Requests(region); len(again) != 0 {
		t.Errorf("offered twice at once: %+v", again)
	}
	clock.Step(offerAgain)
	if again := b.Requests(region); len(again) != 1 || again[0].ID != first[0].ID {
		t.Errorf("not offered again: %+v", again)
	}
}

func TestBrokerSilentRegion(t *testing.T) {
	b, clock, woken := newBroker()
	done := ask(t.Context(), b)
	<-woken
	clock.Step(DefaultWait)
	if got := <-done; !errors.Is(got.err, ErrRegionSilent) {
		t.Errorf("Ask = %v", got.err)
	}
	if left := b.Requests(region); len(left) != 0 {
		t.Errorf("still waiting: %+v", left)
	}
}

func TestBrokerTellsTheAgentThatTheClientHasGone(t *testing.T) {
	b, _, woken := newBroker()
	done := ask(t.Context(), b)
	<-woken
	id := b.Requests(region)[0].ID
	body, _ := io.Pipe()
	answered := make(chan error, 1)
	go func() {
		answered <- b.Answer(t.Context(), region, id, Incoming{"text/plain", body, func() { body.CloseWithError(io.ErrUnexpectedEOF) }})
	}()
	(<-done).answer.Close()
	if err := <-answered; !errors.Is(err, ErrClientGone) {
		t.Errorf("Answer = %v", err)
	}
}

func TestBrokerTellsTheClientThatTheAgentBrokeOff(t *testing.T) {
	b, _, woken := newBroker()
	done := ask(t.Context(), b)
	<-woken
	id := b.Requests(region)[0].ID
	go func() {
		body := io.MultiReader(strings.NewReader("some"), failing{})
		_ = b.Answer(t.Context(), region, id, Incoming{"text/plain", body, func() {}})
	}()
	got := <-done
	if text, err := io.ReadAll(got.answer); string(text) != "some" || !errors.Is(err, ErrCut) {
		t.Errorf("read %q, %v", text, err)
	}
}

func TestBrokerEndsWithItsServer(t *testing.T) {
	b, _, woken := newBroker()
	done := ask(t.Context(), b)
	<-woken
	id := b.Requests(region)[0].ID
	ctx, cancel := context.WithCancel(t.Context())
	body, _ := io.Pipe()
	answered := make(chan error, 1)
	go func() {
		answered <- b.Answer(ctx, region, id, Incoming{"text/plain", body, func() { body.Close() }})
	}()
	got := <-done
	cancel()
	if _, err := io.ReadAll(got.answer); !errors.Is(err, ErrCut) {
		t.Errorf("the client read %v", err)
	}
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("Answer = %v", err)
	}
}

func TestBrokerCancelledClient(t *testing.T) {
	b, _, woken := newBroker()
	ctx, cancel := context.WithCancel(t.Context())
	done := ask(ctx, b)
	<-woken
	id := b.Requests(region)[0].ID
	cancel()
	if got := <-done; !errors.Is(got.err, context.Canceled) {
		t.Errorf("Ask = %v", got.err)
	}
	if err := b.Answer(t.Context(), region, id, Incoming{}); !errors.Is(err, ErrNoRequest) {
		t.Errorf("Answer = %v", err)
	}
}

func TestBrokerBoundsWhoWaits(t *testing.T) {
	b, _, woken := newBroker()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range DefaultWaiting {
		ask(ctx, b)
		<-woken
	}
	if got := <-ask(ctx, b); !errors.Is(got.err, ErrBusy) {
		t.Errorf("Ask = %v", got.err)
	}
}
