package placement

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gco-project/gco/internal/capacity"
)

// The labels that name a node's architecture, with GOARCH's names.
const (
	archLabel     = "kubernetes.io/arch"
	betaArchLabel = "beta.kubernetes.io/arch"
)

// mismatch says why no pod of the spec may land on such a node; it is empty
// where one may. The rules are those of kube-scheduler's NodeAffinity and
// TaintToleration filters.
func mismatch(spec capacity.Pod, node *profile) string {
	if key := unselected(spec.NodeSelector, node); key != "" {
		return fmt.Sprintf("without label %s=%s", key, spec.NodeSelector[key])
	}
	if len(spec.Affinity) > 0 && !slices.ContainsFunc(spec.Affinity, func(t capacity.Term) bool { return termHolds(t, node) }) {
		return "outside the required node affinity"
	}
	for _, taint := range node.taints {
		if !slices.ContainsFunc(spec.Tolerations, func(t capacity.Toleration) bool { return tolerates(t, taint) }) {
			return fmt.Sprintf("with taint %s, not tolerated", taintText(taint))
		}
	}
	return ""
}

// unselected returns the first key, in alphabetical order, whose label the
// node does not have with that value.
func unselected(selector map[string]string, node *profile) string {
	first := ""
	for key, want := range selector {
		if value, ok := node.label(key); (!ok || value != want) && (first == "" || key < first) {
			first = key
		}
	}
	return first
}

// termHolds tells whether every requirement holds. A term without any matches
// no node.
func termHolds(term capacity.Term, node *profile) bool {
	for _, requirement := range term {
		if !holds(requirement, node) {
			return false
		}
	}
	return len(term) > 0
}

func holds(r capacity.Requirement, node *profile) bool {
	value, has := node.label(r.Key)
	switch r.Operator {
	case "In":
		return has && slices.Contains(r.Values, value)
	case "NotIn":
		return !has || !slices.Contains(r.Values, value)
	case "Exists":
		return has
	case "DoesNotExist":
		return !has
	case "Gt", "Lt":
		return has && len(r.Values) == 1 && compareNumbers(r.Operator, value, r.Values[0])
	default:
		return false
	}
}

func compareNumbers(operator, left, right string) bool {
	l, errLeft := strconv.ParseInt(left, 10, 64)
	r, errRight := strconv.ParseInt(right, 10, 64)
	if errLeft != nil || errRight != nil {
		return false
	}
	if operator == "Gt" {
		return l > r
	}
	return l < r
}

func tolerates(t capacity.Toleration, taint capacity.Taint) bool {
	if t.Effect != "" && t.Effect != taint.Effect || t.Key != "" && t.Key != taint.Key {
		return false
	}
	switch t.Operator {
	case "", "Equal":
		return t.Value == taint.Value
	case "Exists":
		return true
	default:
		return false
	}
}

func compareTaints(a, b capacity.Taint) int {
	return strings.Compare(taintText(a), taintText(b))
}

func taintText(t capacity.Taint) string {
	if t.Value == "" {
		return t.Key + ":" + t.Effect
	}
	return t.Key + "=" + t.Value + ":" + t.Effect
}
