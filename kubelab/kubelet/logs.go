package kubelet

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-client/pkg/logs"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	_ "k8s.io/kubernetes/pkg/apis/core/install" // how a query becomes PodLogOptions
)

// routes is what the API server asks of a kubelet.
func (k *Kubelet) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.containerLogs)
	return mux
}

func (k *Kubelet) containerLogs(w http.ResponseWriter, r *http.Request) {
	options, err := logOptions(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := k.container(r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container"))
	if c == nil {
		// The API server asks for pods and containers that exist, so this is
		// one that is played.
		_, _ = io.WriteString(w, "a simulated container says nothing\n")
		return
	}
	run, found := c.logged(options.Previous)
	if !found {
		http.Error(w, fmt.Sprintf("container %q in pod %q has no such logs", c.spec.Name, c.pod.object.Name), http.StatusBadRequest)
		return
	}
	out := flushing{w, http.NewResponseController(w)}
	if err := logs.ReadLogs(r.Context(), c.logFile(run), c.marker(), reading(options, k.options.Clock.Now()), watched{container: c, run: run}, out, out); err != nil && r.Context().Err() == nil {
		fmt.Fprintf(w, "reading the log: %v\n", err)
	}
}

// logOptions reads a query as the API server writes it: with the names of
// PodLogOptions but one.
func logOptions(query url.Values) (*corev1.PodLogOptions, error) {
	if tail := query.Get("tail"); tail != "" {
		query["tailLines"] = []string{tail}
	}
	var options corev1.PodLogOptions
	if err := legacyscheme.ParameterCodec.DecodeParameters(query, corev1.SchemeGroupVersion, &options); err != nil {
		return nil, fmt.Errorf("reading the options of a log: %w", err)
	}
	return &options, nil
}

// reading says the same to what reads the file.
func reading(options *corev1.PodLogOptions, now time.Time) *logs.LogOptions {
	read := &logs.LogOptions{
		TailLines: options.TailLines, LimitBytes: options.LimitBytes,
		Follow: options.Follow, Timestamp: options.Timestamps,
	}
	switch {
	case options.SinceSeconds != nil:
		read.Since = now.Add(-time.Duration(*options.SinceSeconds) * time.Second)
	case options.SinceTime != nil:
		read.Since = options.SinceTime.Time
	}
	return read
}

// container finds a container that runs commands; nil is none.
func (k *Kubelet) container(namespace, podName, name string) *container {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		if p.object.Namespace != namespace || p.object.Name != podName {
			continue
		}
		for _, c := range p.all() {
			if c.spec.Name == name {
				return c
			}
		}
	}
	return nil
}

// flushing sends each line as soon as it is there.
type flushing struct {
	io.Writer
	controller *http.ResponseController
}

func (f flushing) Write(text []byte) (int, error) {
	n, err := f.Writer.Write(text)
	if err == nil {
		err = f.controller.Flush()
	}
	return n, err
}

// watched tells a reader that follows a log whether more may come.
type watched struct {
	internalapi.RuntimeService
	container *container
	run       int
}

func (w watched) ContainerStatus(context.Context, string, bool) (*runtimeapi.ContainerStatusResponse, error) {
	state := runtimeapi.ContainerState_CONTAINER_EXITED
	if w.container.goesOn(w.run) {
		state = runtimeapi.ContainerState_CONTAINER_RUNNING
	}
	return &runtimeapi.ContainerStatusResponse{Status: &runtimeapi.ContainerStatus{State: state}}, nil
}
