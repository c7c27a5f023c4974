package cli

import (
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/model/transfer"
)

// sayEvery is how often a transfer says how far it is where nobody sees a line
// change.
const sayEvery = 10 * time.Second

// showTransfer says on Err how far a transfer is, until the function that it
// returns is called: on a terminal in one line that changes.
func (p *Program) showTransfer(doing string, progress *transfer.Progress) (stop func()) {
	every := sayEvery
	if p.ErrTerminal {
		every = redrawEvery
	}
	began := p.Clock.Now()
	ending, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := p.Clock.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C():
				p.sayTransfer(transferLine(doing, progress, p.Clock.Since(began)))
			case <-ending:
				if p.ErrTerminal {
					fmt.Fprint(p.Err, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return func() {
		close(ending)
		<-ended
	}
}

func (p *Program) sayTransfer(line string) {
	if p.ErrTerminal {
		fmt.Fprint(p.Err, "\r\x1b[K"+cut(line, p.Width-1))
		return
	}
	fmt.Fprintln(p.Err, line)
}

// transferLine tells how much is done, how fast, and how long the rest will
// take at that rate.
func transferLine(doing string, progress *transfer.Progress, elapsed time.Duration) string {
	done, total := progress.Done(), progress.Total()
	line := fmt.Sprintf("%s %s of %s", doing, bytesOf(done), bytesOf(total))
	if total > 0 {
		line += fmt.Sprintf(" (%d %%)", 100*done/total)
	}
	rate := float64(done) / max(elapsed.Seconds(), 1e-3)
	if done == 0 || rate == 0 {
		return line
	}
	return fmt.Sprintf("%s, %s/s, %s left", line, bytesOf(int64(rate)), span(time.Duration(float64(total-done)/rate*float64(time.Second))))
}

// transferred sums up a transfer that is over.
func (p *Program) transferred(what string, progress *transfer.Progress, began time.Time) {
	elapsed := p.Clock.Since(began)
	rate := int64(float64(progress.Done()) / max(elapsed.Seconds(), 1e-3))
	fmt.Fprintf(p.Err, "%s: %s in %s (%s/s), of which %s were carried\n",
		what, bytesOf(progress.Done()), span(elapsed), bytesOf(rate), bytesOf(progress.Moved()))
}
