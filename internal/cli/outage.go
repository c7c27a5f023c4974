package cli

import (
	"context"
	"fmt"
	"sync"

	"github.com/gco-project/gco/client"
)

// outage says when the server of a command that waits is lost, and when it is
// back: once each, however many streams the command has open.
type outage struct {
	addr string
	say  func(line string)

	mu   sync.Mutex
	lost int
}

// open opens a stream of events that tells the outage what becomes of it.
func (o *outage) open(ctx context.Context, c *client.Client, filter client.EventFilter) (*client.Events, error) {
	filter.Lost, filter.Back = o.lose, o.end
	return c.Events(ctx, filter)
}

// lose and end tell of one stream.
func (o *outage) lose(error) { o.add(1) }
func (o *outage) end()       { o.add(-1) }

func (o *outage) add(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before := o.lost
	o.lost += n
	switch {
	case before == 0:
		o.say(fmt.Sprintf("lost the server at %s; trying again", o.addr))
	case o.lost == 0:
		o.say(fmt.Sprintf("the server at %s is back", o.addr))
	}
}
