package dynamodb

import (
	"fmt"
	"strconv"
	"sync"
	"time"
)

// stamp names one write: when it was made, and by which process. Stamps of one
// process grow, and so do those of one record; a stamp is never given twice.
type stamp string

const stampTime = 16

// ns is the time of a stamp, in nanoseconds since 1970.
func (s stamp) ns() int64 {
	if len(s) < stampTime {
		return 0
	}
	n, err := strconv.ParseInt(string(s[:stampTime]), 16, 64)
	if err != nil {
		return 0
	}
	return n
}

// stamps is a hybrid logical clock: it shows the time, but never one that it
// has seen before, here or in what others wrote.
type stamps struct {
	process string
	now     func() time.Time

	mu   sync.Mutex
	last int64
}

// next returns a fresh stamp, greater than after.
func (c *stamps) next(after stamp) stamp {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.now().UnixNano(), c.last+1, after.ns()+1)
	return c.format(c.last)
}

func (c *stamps) format(ns int64) stamp { return stamp(fmt.Sprintf("%016x-%s", ns, c.process)) }

// observe moves the clock on to a stamp that someone else gave.
func (c *stamps) observe(s stamp) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, s.ns())
}
