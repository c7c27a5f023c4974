package gateway

import "time"

// limiter lets so many requests a second through, and as many at once as come
// in one second. It keeps the time at which all that it let through would have
// come at that rate.
type limiter struct {
	perSecond float64
	through   time.Time
}

// allow tells whether one more may come now. after is how long until it may.
func (l *limiter) allow(now time.Time) (allowed bool, after time.Duration) {
	if l.perSecond <= 0 {
		return true, 0
	}
	each := time.Duration(float64(time.Second) / l.perSecond)
	burst := max(time.Second, each)
	through := l.through
	if through.Before(now) {
		through = now
	}
	through = through.Add(each)
	if ahead := through.Sub(now); ahead > burst {
		return false, ahead - burst
	}
	l.through = through
	return true, 0
}
