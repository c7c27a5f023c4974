package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gco-project/gco/internal/capacity"
)

// rejections says of each region that will not do why; only those that are
// returned get a message.
func (q *inquiry) rejections(placed bool) []Rejection {
	limit := maxReasons
	if placed {
		limit = maxRejections
	}
	var byReason [len(codes)]int
	rejected := 0
	for i := range q.rulings {
		if why := q.rulings[i].reason; why != fits {
			byReason[why]++
			rejected++
		}
	}
	out := make([]Rejection, 0, min(limit, rejected))
	for why := fits + 1; int(why) < len(codes); why++ {
		for i := 0; byReason[why] > 0 && len(out) < limit; i++ {
			if ruled := &q.rulings[i]; ruled.reason == why {
				out = append(out, Rejection{ruled.region.record.Name, why.String(), q.message(ruled)})
				byReason[why]--
			}
		}
	}
	return out
}

// message says in a sentence, with numbers, why a region will not do.
func (q *inquiry) message(ruled *ruling) string {
	r := ruled.region
	switch ruled.reason {
	case notAllowed:
		return "the job allows only " + list(q.request.Constraints.Regions)
	case avoided:
		return "the job avoids this region"
	case skipped:
		return "skipped this time, another region gets its chance first"
	case backOff:
		return q.backoffMessage(r)
	case priceUnknown:
		return q.priceUnknownMessage(r)
	case priceOver:
		return fmt.Sprintf("costs %s an hour; the job's limit is %s", money(ruled.price), money(q.request.Constraints.MaxPricePerHour))
	case busy, reserved, neverFits, noMatchingNode, unknownResource, capacityTypeNotOffered:
		return r.roomMessage(ruled.reason, q.groups)
	default:
		return standingMessage(ruled.reason, r.record, q.now)
	}
}

func standingMessage(why reason, r capacity.Region, now time.Time) string {
	switch why {
	case noSession:
		return "no agent has connected yet"
	case leaseLost:
		return "its agent has not been heard of" + since(r.RenewedAt, now)
	case inventoryIncomplete:
		return "its agent has just connected and still lists what runs there"
	case unreachable:
		return "its agent has not reached the cluster" + since(r.UnreachableSince, now)
	case draining:
		return "is being drained by an operator"
	case cordoned:
		return "is cordoned by an operator"
	default:
		return "reports no nodes"
	}
}

func (q *inquiry) backoffMessage(r *region) string {
	resource, b := q.backoff(r)
	var text string
	switch b.Kind {
	case capacity.Quota:
		text = "the account's quota of " + resource + " is used up, which an operator has to raise"
	case capacity.NeverFits:
		text = "found no node that could ever hold as much " + resource
	default:
		text = "could not provide " + resource
	}
	text += fmt.Sprintf(" (failure %d); next try in %s, at %s", b.Failures, span(b.Until.Sub(q.now)), b.Until.UTC().Format(time.TimeOnly+" UTC"))
	if b.Message != "" {
		text += ": " + b.Message
	}
	return text
}

func (q *inquiry) priceUnknownMessage(r *region) string {
	for _, g := range q.groups {
		market := cmp.Or(g.spec.CapacityType, capacity.OnDemand)
		if _, missing := r.prices.perPod(g.needs, market); missing != "" {
			return fmt.Sprintf("the job has a price limit, and the %s price of %s here is not known (0 would mean free of charge)", market, missing)
		}
	}
	return "its price is not known"
}

// roomMessage explains the first group that does not fit.
func (r *region) roomMessage(why reason, groups []group) string {
	for _, g := range groups {
		v := r.view(g.pod)
		switch {
		case v.hopeless == unknownResource:
			return r.unknownMessage(g.pod)
		case v.hopeless == noMatchingNode:
			return r.mismatchMessage(g.pod)
		case v.hopeless == capacityTypeNotOffered:
			return fmt.Sprintf("wants %s capacity; no node here that suits it otherwise is (%s)", g.spec.CapacityType, plural(r.suiting(g.pod), "node"))
		case v.hopeless != fits:
			return r.onePodMessage(g.pod, true)
		case v.empty+v.emptySpare < g.count:
			return fmt.Sprintf("needs %s at once; the region holds %d when it is empty", pods(g), v.empty+v.emptySpare)
		case v.now+v.nowSpare >= g.count:
			continue
		case why == reserved:
			return fmt.Sprintf("there is room for %s, but %s kept for a job that has waited longer", pods(g), areNodes(nodesIn(r.held)))
		case v.now+v.nowSpare == 0:
			return r.onePodMessage(g.pod, false)
		default:
			return fmt.Sprintf("needs %s at once; %d fit now, %d when the region is empty", pods(g), v.now+v.nowSpare, v.empty+v.emptySpare)
		}
	}
	if resource := r.exceeded(groups); resource != "" && why == neverFits {
		return fmt.Sprintf("its pods together need more %s than all nodes have", resource)
	}
	return fmt.Sprintf("each of its %d kinds of pod fits by itself, but not all at once", len(groups))
}

func (r *region) unknownMessage(p *pod) string {
	var missing []string
	for _, need := range p.needs {
		if r.total(need.name) == 0 {
			missing = append(missing, need.name)
		}
	}
	return fmt.Sprintf("no node here has any %s (%s)", strings.Join(missing, " or "), plural(r.nodeCount(), "node"))
}

// mismatchMessage counts the nodes by what keeps the pod off them.
func (r *region) mismatchMessage(p *pod) string {
	counts := map[string]int64{}
	for _, k := range r.kinds {
		counts[mismatch(p.spec, k.profile)] += k.nodes + k.spare
	}
	causes := make([]string, 0, len(counts))
	for cause := range counts {
		causes = append(causes, cause)
	}
	slices.SortFunc(causes, func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	const shown = 3
	var parts []string
	for _, cause := range causes[:min(shown, len(causes))] {
		parts = append(parts, fmt.Sprintf("%d %s", counts[cause], cause))
	}
	if more := len(causes) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more reasons", more))
	}
	return fmt.Sprintf("no node here will take such a pod (%s): %s", plural(r.nodeCount(), "node"), strings.Join(parts, "; "))
}

// onePodMessage says why not even one pod finds a node: now, or with every
// node empty.
func (r *region) onePodMessage(p *pod, empty bool) string {
	suiting := plural(r.suiting(p), "suitable node")
	need, most, of := r.scarcest(p, empty)
	switch {
	case need.name == "" && empty:
		return fmt.Sprintf("needs %s on one node; none of %s has all of it", sum(p.needs), suiting)
	case need.name == "":
		return fmt.Sprintf("needs %s on one node; none of %s has all of it free", sum(p.needs), suiting)
	case empty:
		return fmt.Sprintf("needs %s on one node; the largest of %s has %s", amount(need.name, need.amount), suiting, figure(need.name, most))
	default:
		return fmt.Sprintf("needs %s on one node; the freest of %s has %s of %s free",
			amount(need.name, need.amount), suiting, figure(need.name, most), figure(need.name, of))
	}
}

// scarcest is the need of which the best suitable node has the smallest part,
// what that node has of it, and the most that such a node could have. It is
// empty if each need by itself is met by some node.
func (r *region) scarcest(p *pod, empty bool) (scarce need, most, of int64) {
	worst := 1.0
	for _, n := range append(slices.Clone(p.needs), need{capacity.Pods, p.slots}) {
		have, total, limited := r.largest(p, n.name, empty)
		if part := float64(have) / float64(n.amount); limited && part < worst {
			scarce, most, of, worst = n, have, total, part
		}
	}
	return scarce, most, of
}

// largest is the most of a resource that is free on one suitable node, and the
// most that one has in all. limited is false if some node has no limit on it.
func (r *region) largest(p *pod, name string, empty bool) (have, total int64, limited bool) {
	limited = true
	look := func(at int, free []int64) {
		k := &r.kinds[at]
		if !p.admitted(k.profile) || p.positions(k.layout) == nil {
			return
		}
		i, ok := slices.BinarySearch(k.names, name)
		if !ok {
			limited = false
			return
		}
		have, total = max(have, free[i]), max(total, k.total[i])
	}
	if empty {
		for i := range r.kinds {
			look(i, r.kinds[i].total)
		}
		return have, total, limited
	}
	for _, list := range [][]shape{r.nodes, r.spare} {
		for i := range list {
			look(list[i].kind, list[i].free)
		}
	}
	return have, total, limited
}

// suiting counts the nodes that have what the pod names and that its
// selectors and tolerations allow, whatever the market.
func (r *region) suiting(p *pod) int64 {
	count := int64(0)
	for _, k := range r.kinds {
		if p.positions(k.layout) != nil && mismatch(p.spec, k.profile) == "" {
			count += k.nodes + k.spare
		}
	}
	return count
}

func (r *region) nodeCount() int64 {
	count := int64(0)
	for _, k := range r.kinds {
		count += k.nodes + k.spare
	}
	return count
}

func nodesIn(list []shape) int64 {
	count := int64(0)
	for _, s := range list {
		count += s.count
	}
	return count
}

// total of a resource over all nodes, in floating point: it may be larger than
// any whole number.
func (r *region) total(name string) float64 {
	total := 0.0
	for _, k := range r.kinds {
		if i, ok := slices.BinarySearch(k.names, name); ok {
			total += float64(k.nodes+k.spare) * float64(k.total[i])
		}
	}
	return total
}

func pods(g group) string {
	if len(g.needs) == 0 {
		return plural(g.count, "pod")
	}
	return fmt.Sprintf("%s of %s", plural(g.count, "pod"), sum(g.needs))
}

func sum(needs []need) string {
	parts := make([]string, len(needs))
	for i, need := range needs {
		parts[i] = amount(need.name, need.amount)
	}
	return strings.Join(parts, " + ")
}

// amount is a quantity with its resource, such as "8 nvidia.com/gpu" or "16
// GiB memory".
func amount(name string, n int64) string {
	if name == capacity.Pods {
		return "room for " + plural(n, "pod")
	}
	return figure(name, n) + " " + name
}

// figure is a quantity in the unit that people use.
func figure(name string, n int64) string {
	switch name {
	case capacity.CPU:
		return decimal(float64(n) / 1000)
	case capacity.Memory, capacity.EphemeralStorage:
		for _, unit := range []struct {
			name string
			size int64
		}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
			if n >= unit.size {
				return decimal(float64(n)/float64(unit.size)) + " " + unit.name
			}
		}
		return strconv.FormatInt(n, 10) + " B"
	default:
		return strconv.FormatInt(n, 10)
	}
}

// decimal has at most two places behind the point.
func decimal(x float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(x, 'f', 2, 64), "0"), ".")
}

func money(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) }

func plural(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func areNodes(n int64) string {
	if n == 1 {
		return "1 node is"
	}
	return fmt.Sprintf("%d nodes are", n)
}

func list(names []string) string {
	const shown = 5
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

// since is " for 3m5s", or nothing where the start is not known.
func since(start, now time.Time) string {
	if start.IsZero() || now.Before(start) {
		return ""
	}
	return " for " + span(now.Sub(start))
}

// span is a duration without the zeros that Go writes, such as "1h" or "1m30s".
func span(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if short, cut := strings.CutSuffix(text, "m0s"); cut {
		text = short + "m"
	}
	if short, cut := strings.CutSuffix(text, "h0m"); cut {
		text = short + "h"
	}
	return text
}
