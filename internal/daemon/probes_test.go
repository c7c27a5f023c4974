package daemon

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestProbesAreAnsweredUntilTheEnd(t *testing.T) {
	listener, err := OpenProbes("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if _, err := OpenProbes(address); err == nil || !strings.Contains(err.Error(), "listening for probes") {
		t.Errorf("a port that is taken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ServeProbes(ctx, listener) }()
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/other": http.StatusNotFound} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s answers %s", path, response.Status)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
