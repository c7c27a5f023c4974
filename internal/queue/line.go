package queue

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/gco-project/gco/internal/capacity"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
)

// line is all that waits, class by class, in the order of the classes' next
// jobs: higher priority first, then older. Classes and jobs are read from the
// store as far as a round of the Placer gets.
type line struct {
	store store.Jobs
	// page is how many classes are read at a time. deep lets the line go on
	// after the first page.
	page int
	deep bool

	classes classHeap
	seen    map[capacity.Class]bool
	// last is the head of the last class that was read; whole says that no
	// other will be.
	last  store.Position
	whole bool
}

func newLine(jobs store.Jobs, page int, deep bool) *line {
	return &line{store: jobs, page: page, deep: deep, seen: map[capacity.Class]bool{}}
}

// first is the class whose next job comes first; nil at the end of the line.
// Before a class's first advance, its next job is the one at its Head, and
// not read yet.
func (l *line) first(ctx context.Context) (*classCursor, error) {
	for {
		if !l.whole && (len(l.classes) == 0 || before(l.last, l.classes[0].head())) {
			if err := l.readClasses(ctx); err != nil {
				return nil, err
			}
			continue
		}
		if len(l.classes) == 0 {
			return nil, nil
		}
		class := l.classes[0]
		if len(class.page) > 0 || class.after == (store.Position{}) {
			return class, nil
		}
		if err := l.readJobs(ctx, class); err != nil {
			return nil, err
		}
	}
}

func (l *line) readClasses(ctx context.Context) error {
	page, err := l.store.WaitingClasses(ctx, l.last, l.page)
	if err != nil {
		return fmt.Errorf("listing waiting classes: %w", err)
	}
	l.whole = len(page) < l.page || !l.deep
	for _, class := range page {
		l.last = class.Head
		// A class whose head has gone meanwhile comes a second time.
		if !l.seen[class.Class] {
			l.seen[class.Class] = true
			heap.Push(&l.classes, &classCursor{WaitingClass: class})
		}
	}
	return nil
}

// readJobs reads the next jobs of the class at the front, which finds its
// place among the others again.
func (l *line) readJobs(ctx context.Context, class *classCursor) error {
	if class.drained {
		l.drop()
		return nil
	}
	page, err := l.store.Waiting(ctx, class.Class, class.after, placePage)
	if err != nil {
		return fmt.Errorf("listing waiting jobs: %w", err)
	}
	class.page, class.drained = page, len(page) < placePage
	if len(page) == 0 {
		l.drop()
		return nil
	}
	class.after = positionOf(page[len(page)-1])
	heap.Fix(&l.classes, 0)
	return nil
}

// job is the next one of the class at the front; false where that has gone,
// and another class may be at the front.
func (l *line) job(ctx context.Context, class *classCursor) (job.Job, bool, error) {
	if len(class.page) == 0 {
		err := l.readJobs(ctx, class)
		if err != nil || len(class.page) == 0 || l.classes[0] != class {
			return job.Job{}, false, err
		}
	}
	return class.page[0], true, nil
}

// advance goes on to the next job of the class at the front.
func (l *line) advance() {
	class := l.classes[0]
	class.page = class.page[1:]
	heap.Fix(&l.classes, 0)
}

// drop sets the class at the front aside for the rest of the round.
func (l *line) drop() { heap.Pop(&l.classes) }

// classCursor walks the waiting jobs of one class.
type classCursor struct {
	store.WaitingClass
	page    []job.Job
	after   store.Position
	drained bool
}

// head is the position of the next job, as far as it is known.
func (c *classCursor) head() store.Position {
	if len(c.page) > 0 {
		return positionOf(c.page[0])
	}
	if c.after != (store.Position{}) {
		return c.after
	}
	return c.Head
}

// since is when the next job was submitted, as far as it is known.
func (c *classCursor) since() time.Time {
	if len(c.page) > 0 {
		return c.page[0].SubmittedAt
	}
	return c.Since
}

func positionOf(j job.Job) store.Position {
	return store.Position{Priority: j.Spec.Priority, ID: j.ID}
}

// classHeap orders classes by their next job.
type classHeap []*classCursor

func (h classHeap) Len() int           { return len(h) }
func (h classHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h classHeap) Less(i, j int) bool { return before(h[i].head(), h[j].head()) }
func (h *classHeap) Push(x any)        { *h = append(*h, x.(*classCursor)) }
func (h *classHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

// before tells whether a is ahead of b among waiting jobs.
func before(a, b store.Position) bool {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.ID, b.ID)) < 0
}
