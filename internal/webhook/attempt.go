package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gco-project/gco/internal/store"
)

const (
	// keptAnswer is how much of an answer's body is kept, and drainedAnswer how
	// much is read so that the connection can be used again.
	keptAnswer    = 4 << 10
	drainedAnswer = 64 << 10
	// answerTime is how long the body of an answer is waited for: the status
	// has said all that counts.
	answerTime = time.Second
)

// outcome is what one try came to.
type outcome struct {
	try store.Try
	// done says that the receiver took it; gone that it wants no more.
	done, gone bool
	// retryAfter is what the receiver asked for; 0 is nothing.
	retryAfter time.Duration
}

// attempt tries one delivery. A secret that has expired signs no more.
func (d *deliverer) attempt(ctx context.Context, w *store.Webhook, delivery *store.Delivery) outcome {
	ctx, cancel := context.WithTimeout(ctx, d.o.Settings.Timeout)
	defer cancel()
	start := d.o.Clock.Now()
	out := d.post(ctx, w, delivery, start)
	out.try.At, out.try.Took = start.UTC(), d.o.Clock.Since(start)
	return out
}

func (d *deliverer) post(ctx context.Context, w *store.Webhook, delivery *store.Delivery, now time.Time) outcome {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL, bytes.NewReader(delivery.Body))
	if err != nil {
		return outcome{try: store.Try{Error: "the address is no URL"}}
	}
	request.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	request.Header.Set("User-Agent", "gco-webhooks")
	sign(request.Header, delivery.EventID, now, delivery.Body, w.Secrets)
	client := d.plain
	if request.URL.Scheme == "https" {
		client = d.secure
	}
	response, err := client.Do(request)
	if err != nil {
		return outcome{try: store.Try{Error: reasonOf(ctx, err)}}
	}
	defer response.Body.Close()
	return outcome{
		try:  store.Try{Status: response.StatusCode, Error: meaning(response.StatusCode), Answer: readAnswer(ctx, response.Body)},
		done: response.StatusCode/100 == 2, gone: response.StatusCode == http.StatusGone,
		retryAfter: retryAfter(response.Header.Get("Retry-After"), now),
	}
}

// reasonOf says why there was no answer, without the address that was called:
// that may hold a credential, and this is logged and shown.
func reasonOf(ctx context.Context, err error) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return "there was no answer in time"
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	if failed, ok := errors.AsType[*net.OpError](err); ok && failed.Op == "dial" {
		return shorten("connecting: " + failed.Err.Error())
	}
	return shorten(err.Error())
}

// meaning says what a status means where that may surprise.
func meaning(status int) string {
	switch {
	case status/100 == 3:
		return fmt.Sprintf("the answer is %d; redirects are not followed", status)
	case status == http.StatusGone:
		return "the receiver wants no more (410)"
	}
	return ""
}

// shorten bounds a text that is kept.
func shorten(text string) string {
	const most = 500
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}

// readAnswer returns the beginning of an answer. It reads a little more, but
// neither much nor long.
func readAnswer(ctx context.Context, body io.ReadCloser) string {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = body.Close() })
	defer stop()
	kept, err := io.ReadAll(io.LimitReader(body, keptAnswer))
	if err == nil {
		_, _ = io.CopyN(io.Discard, body, drainedAnswer)
	}
	if !utf8.Valid(kept) {
		return strings.ToValidUTF8(string(kept), "?")
	}
	return string(kept)
}

// maxRetryAfter bounds what a receiver may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header, which has seconds or a date.
func retryAfter(header string, now time.Time) time.Duration {
	wait := time.Duration(0)
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(header); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), maxRetryAfter)
}
