package cli

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

// watchPause is between two looks at what is watched or waited for.
const watchPause = 500 * time.Millisecond

func addWatch(cmd *cobra.Command, watch *bool) {
	cmd.Flags().BoolVarP(watch, "watch", "w", false, "show it again whenever it changes, until interrupted")
}

// again prints once, or, to watch, whenever what is printed has changed: over
// what stood there on a terminal, below it in a pipe.
func (p *Program) again(ctx context.Context, watch bool, show func(*Program) error) error {
	if !watch {
		return show(p)
	}
	ticker := p.Clock.NewTicker(watchPause)
	defer ticker.Stop()
	last := []byte(nil)
	for {
		var b bytes.Buffer
		page := *p
		page.Out = &b
		if err := show(&page); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if !bytes.Equal(b.Bytes(), last) {
			last = bytes.Clone(b.Bytes())
			text := last
			if p.Terminal {
				text = append([]byte("\x1b[2J"), frame(last)...)
			}
			if _, err := p.Out.Write(text); err != nil {
				return err
			}
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return nil
		}
	}
}

// awaitEndpoint waits until an endpoint is as its last edit wants it. It fails
// when that was rolled back.
func (p *Program) awaitEndpoint(ctx context.Context, c *client.Client, wanted api.Endpoint) (api.Endpoint, error) {
	ticker := p.Clock.NewTicker(watchPause)
	defer ticker.Stop()
	for {
		e, err := c.Endpoint(ctx, wanted.Name)
		if err != nil {
			return e, fmt.Errorf("waiting for endpoint %s: %w", wanted.Name, err)
		}
		if e.Version > wanted.Version && e.Reason != "" {
			return e, fmt.Errorf("endpoint %s was rolled back to revision %d: %s", e.Name, e.Revision, e.Reason)
		}
		switch e.State {
		case "ready", "idle":
			return e, nil
		case "stopped":
			if e.Ready == 0 {
				return e, nil
			}
		}
		select {
		case <-ticker.C():
		case <-ctx.Done():
			return e, fmt.Errorf("waiting for endpoint %s, which is %s: %w", e.Name, e.State, ctx.Err())
		}
	}
}
