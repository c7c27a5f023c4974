package kubelab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program writes a shell script that stands for kubelab.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), Name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStartReadsWhereEverythingIs(t *testing.T) {
	dir := t.TempDir()
	cluster, err := Start(t.Context(), Options{
		Binary: program(t, `echo "$@" > "$3/args"; echo '{"server":"https://here","kubeconfig":"file"}'; cat >/dev/null; touch "$3/goodbye"`),
		Dir:    dir, Region: "east", Listen: "127.0.0.1:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if cluster.Server != "https://here" || cluster.Kubeconfig != "file" {
		t.Errorf("%+v", cluster)
	}
	cluster.Stop()
	if _, err := os.Stat(filepath.Join(dir, "goodbye")); err != nil {
		t.Errorf("it was not let to end by itself: %v", err)
	}
	args, err := os.ReadFile(filepath.Join(dir, "args"))
	if want := "--with-parent --dir " + dir + " --region east --listen 127.0.0.1:1\n"; err != nil || string(args) != want {
		t.Errorf("it was started with %q, %v", args, err)
	}
}

func TestStartSaysWhyThereIsNoCluster(t *testing.T) {
	_, err := Start(t.Context(), Options{Binary: program(t, "echo out of luck >&2; exit 1"), Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "out of luck") {
		t.Errorf("one that ends: %v", err)
	}
	if _, err := Start(t.Context(), Options{Binary: filepath.Join(t.TempDir(), "none"), Dir: t.TempDir()}); err == nil {
		t.Error("one that is not there was started")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, Options{Binary: program(t, "exec sleep 1000"), Dir: t.TempDir()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that takes too long: %v", err)
	}
}

func TestFaultsAreAskedFor(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, fmt.Sprintf("%s %s %s", r.Method, r.URL.Path, body))
		if strings.HasSuffix(r.URL.Path, "/missing") {
			http.Error(w, "no such node", http.StatusNotFound)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	c := &Cluster{Control: server.URL}
	for _, call := range []func(context.Context) error{
		c.StopAPI,
		func(ctx context.Context) error { return c.SlowAPI(ctx, time.Second) },
		c.ResumeAPI,
		func(ctx context.Context) error { return c.SetCapacity(ctx, false) },
		func(ctx context.Context) error { return c.SetNode(ctx, "a", "Unknown") },
	} {
		if err := call(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := c.SetNode(t.Context(), "missing", "True"); err == nil || !strings.Contains(err.Error(), "no such node") {
		t.Errorf("a node that is not there: %v", err)
	}
	want := []string{
		`PUT /api {"stopped":true}`, `PUT /api {"delay":"1s","stopped":false}`, `PUT /api {"stopped":false}`,
		`PUT /capacity {"none":true}`, `PUT /nodes/a {"ready":"Unknown"}`, `PUT /nodes/missing {"ready":"True"}`,
	}
	if strings.Join(asked, "\n") != strings.Join(want, "\n") {
		t.Errorf("asked for\n%s\nwant\n%s", strings.Join(asked, "\n"), strings.Join(want, "\n"))
	}
}

func TestFindLooksWhereItSays(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("GCO_KUBELAB", "")
	beside := program(t, "")
	gco := filepath.Join(filepath.Dir(beside), "gco")
	if err := os.WriteFile(gco, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "gco")
	if err := os.Symlink(gco, link); err != nil {
		t.Fatal(err)
	}
	for _, executable := range []string{gco, link} {
		if found, err := Find(executable); err != nil || found != beside {
			t.Errorf("beside %s it found %q, %v", executable, found, err)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "gco")
	if _, err := Find(elsewhere); !errors.Is(err, ErrMissing) {
		t.Errorf("where there is none: %v", err)
	}
	named := program(t, "")
	t.Setenv("GCO_KUBELAB", named)
	if found, err := Find(gco); err != nil || found != named {
		t.Errorf("with a name it found %q, %v", found, err)
	}
}
