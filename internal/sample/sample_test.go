package sample

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func serve(t *testing.T, s *Server) *httptest.Server {
	t.Helper()
	handler, err := s.Handler()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func post(t *testing.T, url, body string) (int, string) {
	t.Helper()
	response, err := http.Post(url, "application/json", strings.NewReader(body)) //nolint:noctx // the server is the test's own
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestLinear(t *testing.T) {
	server := serve(t, &Server{Kind: "linear", Name: "me"})
	for body, want := range map[string]string{
		`{"inputs":[1,2,4]}`: `{"output":3,"servedBy":"me"}`,
		`{"inputs":[1]}`:     `{"error":"3 inputs expected"}`,
		`{`:                  `{"error":{"message":"unexpected EOF","type":"invalid_request_error"}}`,
	} {
		if _, got := post(t, server.URL+"/predict", body); strings.TrimSpace(got) != want {
			t.Errorf("%s is answered with %s", body, got)
		}
	}
}

// TestStream reads word after word: the next one is not sent before the pause.
func TestStream(t *testing.T) {
	pauses := make(chan time.Time)
	server := serve(t, &Server{Kind: "openai", Name: "me", After: func(time.Duration) <-chan time.Time { return pauses }})
	response, err := http.Post(server.URL+"/v1/chat/completions", "application/json", //nolint:noctx // the server is the test's own
		strings.NewReader(`{"model":"echo","stream":true,"messages":[{"role":"user","content":"one two three"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for _, want := range []string{`"content":"one "`, `"content":"two "`, `"content":"three"`} {
		if !lines.Scan() || !strings.Contains(lines.Text(), want) {
			t.Fatalf("%s instead of %s", lines.Text(), want)
		}
		lines.Scan()
		pauses <- time.Time{}
	}
	if !lines.Scan() || lines.Text() != "data: [DONE]" {
		t.Errorf("it ends with %q", lines.Text())
	}
}

func TestChat(t *testing.T) {
	server := serve(t, &Server{Kind: "openai"})
	status, text := post(t, server.URL+"/v1/chat/completions", `{"model":"echo","messages":[{"role":"user","content":"hello"}]}`)
	if status != http.StatusOK || !strings.Contains(text, `"content":"hello"`) {
		t.Errorf("%d %s", status, text)
	}
	if status, _ := post(t, server.URL+"/v1/chat/completions", `{"model":"gpt","messages":[]}`); status != http.StatusNotFound {
		t.Errorf("another model: %d", status)
	}
	if status, _ := post(t, server.URL+"/v1/chat/completions", `{"model":"echo"}`); status != http.StatusBadRequest {
		t.Errorf("without messages: %d", status)
	}
	if _, err := (&Server{Kind: "none"}).Handler(); err == nil {
		t.Error("there is a server of no kind")
	}
}
