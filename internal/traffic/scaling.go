package traffic

import (
	"maps"
	"time"

	"github.com/gco-project/gco/internal/autoscale"
	"github.com/gco-project/gco/internal/endpoint"
	"github.com/gco-project/gco/internal/serving"
)

// fresh is how long what a region measured stands for now. A region where
// nothing changes says nothing more.
const fresh = 3 * judgeEvery

// scaling is one endpoint that is autoscaled.
type scaling struct {
	scaler autoscale.Scaler
	// last is what each region had measured at the last look.
	last map[string]endpoint.Load
	// rates are what each region's part was then.
	rates map[string]float64
}

// scale says of every autoscaled endpoint how many replicas there should be.
func (t *Traffic) scale(now time.Time) {
	wanted := map[string]int{}
	for _, s := range t.standings {
		e := &s.Endpoint
		// What replicas export is not measured here.
		if e.Spec.Autoscaling == nil || e.Spec.Autoscaling.Metric == endpoint.Gauge || e.Stopped || s.Plan == nil || s.Plan.Edit == 0 {
			continue
		}
		known := t.scalings[e.UID]
		if known == nil {
			known = &scaling{last: map[string]endpoint.Load{}, rates: map[string]float64{}}
			t.scalings[e.UID] = known
		}
		a := e.Spec.Autoscaling
		n, reason := known.scaler.Next(autoscale.Policy{
			Min: a.Min, Max: a.Max, Target: a.Target, Window: a.Window, Delay: a.ScaleDownDelay, Idle: a.IdleTime,
		}, known.reading(&s, now), s.Plan.Replicas)
		wanted[e.UID] = n
		if n != s.Plan.Replicas {
			t.Log.Info("an endpoint is scaled", "endpoint", e.Name, "from", s.Plan.Replicas, "to", n, "reason", reason)
		}
	}
	maps.DeleteFunc(t.scalings, func(uid string, _ *scaling) bool { _, found := wanted[uid]; return !found })
	t.mu.Lock()
	changed := !maps.Equal(t.wanted, wanted)
	t.wanted = wanted
	t.mu.Unlock()
	if changed {
		t.Serving.Look()
	}
}

// reading sums up what the regions measured since the last one.
func (k *scaling) reading(s *serving.Standing, now time.Time) autoscale.Reading {
	e := &s.Endpoint
	r := autoscale.Reading{At: now}
	for _, site := range s.Sites {
		load := site.Observed.Load
		if load == nil || !site.Up {
			delete(k.last, site.Region)
			continue
		}
		r.Value += k.value(e.Spec.Autoscaling.Metric, site.Region, *load, now)
		before, known := k.last[site.Region]
		r.Busy = r.Busy || load.Open > 0 || known && load.Requests() != before.Requests()
		r.Waiting += load.Waiting
		if !known || load.At.After(before.At) {
			k.last[site.Region] = *load
		}
	}
	if now.Sub(e.WokenAt) < fresh {
		r.Busy = true
		if s.Plan.Replicas == 0 {
			r.Waiting = max(r.Waiting, 1)
		}
	}
	return r
}

// value is one region's part of what is measured.
func (k *scaling) value(metric endpoint.Metric, region string, load endpoint.Load, now time.Time) float64 {
	before, known := k.last[region]
	elapsed := load.At.Sub(before.At).Seconds()
	switch {
	case known && load.Began.Equal(before.Began) && elapsed > 0 && metric == endpoint.Concurrency:
		k.rates[region] = (load.Busy-before.Busy)/elapsed + float64(load.Waiting)
	case known && load.Began.Equal(before.Began) && elapsed > 0:
		k.rates[region] = float64(load.Requests()-before.Requests()) / elapsed
	case known && elapsed == 0 && now.Sub(load.At) <= fresh:
		// It has said nothing new.
	case metric == endpoint.Concurrency:
		k.rates[region] = float64(load.Open + load.Waiting)
	default:
		k.rates[region] = 0
	}
	return k.rates[region]
}
