package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func TestLogsThatBreakOffSayWhetherSomeWereShown(t *testing.T) {
	for text, want := range map[string]string{
		"":    "the logs of attempt 1 can't be shown: they were cut off\n",
		"one": "the rest of the logs of attempt 1 can't be shown: they were cut off\n",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK)
			if text != "" {
				fmt.Fprintln(w, "2026-03-01T10:00:00Z", text)
			}
		}))
		t.Cleanup(server.Close)
		p, out, said := testProgram(t)
		c, err := client.New(server.URL, "")
		if err != nil {
			t.Fatal(err)
		}
		j := api.Job{ID: "x", Name: "x", State: "running"}
		progress := newProgress(p, []api.Job{j})
		w := &waiter{Program: p, client: c, job: j, progress: progress, logs: true, out: progress.logs(j)}
		w.startCopy(t.Context(), 1)
		<-w.copying
		if strings.TrimSpace(out.String()) != text || said.String() != want {
			t.Errorf("after %q: printed %q, said %q, want %q", text, out, said, want)
		}
	}
}
