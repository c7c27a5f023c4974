package capacity

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// Demand is what one job asks of a region: its pods that run at the same time,
// grouped by shape.
type Demand struct {
	Pods []PodGroup `json:"pods"`
}

// PodGroup is Count pods of one shape.
type PodGroup struct {
	Count int `json:"count"`
	Pod
}

// Pod is what one pod asks of the node it lands on. The fields mean what the
// fields of the same name mean in a Kubernetes pod spec.
type Pod struct {
	Requests     Resources         `json:"requests"`
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`
	// Affinity is required node affinity: one of the terms must hold.
	Affinity    []Term       `json:"affinity,omitempty"`
	Tolerations []Toleration `json:"tolerations,omitempty"`
	// CapacityType is that of the nodes it may land on; empty is any.
	CapacityType Type `json:"capacityType,omitempty"`
}

// Term is a conjunction of requirements on a node's labels.
type Term []Requirement

// Requirement compares one node label, with the operators of Kubernetes node
// affinity: In, NotIn, Exists, DoesNotExist, Gt, Lt.
type Requirement struct {
	Key      string   `json:"key"`
	Operator string   `json:"operator"`
	Values   []string `json:"values,omitempty"`
}

// Toleration lets a pod land on a tainted node. Operator is Equal (also when
// empty) or Exists; an empty Effect matches every effect.
type Toleration struct {
	Key      string `json:"key,omitempty"`
	Operator string `json:"operator,omitempty"`
	Value    string `json:"value,omitempty"`
	Effect   string `json:"effect,omitempty"`
}

// OfType is the same demand on one market only.
func (d Demand) OfType(t Type) Demand {
	pods := slices.Clone(d.Pods)
	for i := range pods {
		pods[i].CapacityType = t
	}
	return Demand{Pods: pods}
}

// Total is the sum over all pods.
func (d Demand) Total() Resources {
	total := Resources{}
	for _, group := range d.Pods {
		total = total.Add(group.Requests.Scale(int64(group.Count)))
	}
	return total
}

// ResourceNames lists every resource that some pod asks for, sorted.
func (d Demand) ResourceNames() []string { return d.Total().Names() }

// Class names a group of jobs that placement cannot tell apart: the same
// demand under the same constraints. The Placer decides once a class.
type Class string

// ClassOf hashes the demand and whatever else placement looks at. Both must
// marshal to JSON in one way only (structs, and maps with string keys, do).
func ClassOf(demand Demand, constraints any) Class {
	text, err := json.Marshal([]any{demand, constraints})
	if err != nil {
		panic("capacity: class of something that JSON cannot hold: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return Class(hex.EncodeToString(sum[:12]))
}
