// Package canary judges a new revision by what its requests came to, beside
// those of the revision that serves: it says whether the trial goes on, takes a
// larger share, is over, or has failed, and why, with the numbers. It is pure:
// what it judges are [Sample]s, which gateways measure and agents report, and
// serving acts on its [Verdict].
package canary

import (
	"maps"
	"math"
	"slices"
	"time"
)

// Latencies are counted in buckets whose bounds grow by the eighth root of 2,
// 9 %, from 100 µs to more than three hours: so exact is a percentile.
const (
	firstBound = 100 * time.Microsecond
	perDouble  = 8
	maxBucket  = 27 * perDouble
)

// Buckets is how many there are.
const Buckets = maxBucket + 1

// Bucket is the bucket of a latency.
func Bucket(latency time.Duration) int {
	if latency <= firstBound {
		return 0
	}
	n := int(math.Ceil(math.Log2(float64(latency)/float64(firstBound)) * perDouble))
	return min(max(n, 0), maxBucket)
}

// Bound is the longest latency of a bucket.
func Bound(bucket int) time.Duration {
	return time.Duration(float64(firstBound) * math.Exp2(float64(bucket)/perDouble))
}

// Sample is what some requests came to.
type Sample struct {
	Requests int64 `json:"requests"`
	// Errors are answers with a status of 500 or more, and none at all.
	Errors int64 `json:"errors"`
	// Latencies count requests by the bucket of the time until their answer
	// began.
	Latencies map[int]int64 `json:"latencies,omitempty"`
}

// Add returns what both came to together.
func (s Sample) Add(other Sample) Sample {
	sum := Sample{Requests: s.Requests + other.Requests, Errors: s.Errors + other.Errors, Latencies: maps.Clone(s.Latencies)}
	if sum.Latencies == nil {
		sum.Latencies = map[int]int64{}
	}
	for bucket, n := range other.Latencies {
		sum.Latencies[bucket] += n
	}
	return sum
}

// Since returns what came after an earlier sample of the same counters. One
// that counted more is of other counters: then everything came after it.
func (s Sample) Since(earlier Sample) Sample {
	if earlier.Requests > s.Requests || earlier.Errors > s.Errors {
		return s
	}
	after := Sample{Requests: s.Requests - earlier.Requests, Errors: s.Errors - earlier.Errors, Latencies: map[int]int64{}}
	for bucket, n := range s.Latencies {
		if n -= earlier.Latencies[bucket]; n > 0 {
			after.Latencies[bucket] = n
		}
	}
	return after
}

// ErrorRate is the share of requests that failed, from 0 to 1.
func (s Sample) ErrorRate() float64 {
	if s.Requests == 0 {
		return 0
	}
	return float64(s.Errors) / float64(s.Requests)
}

// Percentile is the latency that p percent of the requests were within; 0 of no
// requests.
func (s Sample) Percentile(p float64) time.Duration {
	total := int64(0)
	for _, n := range s.Latencies {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank := max(int64(math.Ceil(float64(total)*p/100)), 1)
	for _, bucket := range slices.Sorted(maps.Keys(s.Latencies)) {
		if rank -= s.Latencies[bucket]; rank <= 0 {
			return Bound(bucket)
		}
	}
	return Bound(maxBucket)
}
