package flow

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gathered are the metrics that are not zero, by name and label.
func (w *world) gathered() string {
	w.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(w.flow.Collector()); err != nil {
		w.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		w.Fatal(err)
	}
	values := map[string]string{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "gco_")
			for _, label := range m.GetLabel() {
				name += " " + label.GetValue()
			}
			if h := m.GetHistogram(); h.GetSampleCount() > 0 {
				values[name] = fmt.Sprintf("%d in %g s", h.GetSampleCount(), h.GetSampleSum())
			} else if n := m.GetCounter().GetValue() + m.GetGauge().GetValue(); n > 0 {
				values[name] = fmt.Sprint(n)
			}
		}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		all = append(all, name+": "+values[name])
	}
	return strings.Join(all, ", ")
}

func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.want("at first", w.gathered(), "")
	id := w.submit(document("a b<a"))
	w.round()
	w.want("a pipeline", w.gathered(), "pipelines_running: 1, pipelines_total submitted: 1")
	w.finish(id, "a:failed")
	w.want("that failed", w.gathered(), "pipelines_total failed: 1, pipelines_total submitted: 1")

	w.apply(hourly())
	w.until("04:00:05")
	w.until("05:00:00")
	if _, err := w.flow.RetryPipeline(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	w.store.dead = true
	w.round()
	counted := "pipelines_total failed: 1, pipelines_total retried: 1, pipelines_total submitted: 1, " +
		"schedule_late_seconds: 1 in 5 s, schedule_runs_total skipped: 1, schedule_runs_total submitted: 1"
	w.want("with a store that fails", w.gathered(), "pipelines_stuck: 1, "+counted)
	w.store.dead = false
	w.pass(time.Second)
	w.want("with one that works", w.gathered(), "pipelines_running: 1, "+counted)
	w.queue.leads = false
	w.round()
	w.want("without leading", w.gathered(), counted)
}
