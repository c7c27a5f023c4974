package kubelab

import (
	"encoding/json"
	"fmt"
	"os"
)

// Nodes is the file that says what a cluster is made of; docs/kubelab.md says
// what each field means.
type Nodes struct {
	Namespaces []string `json:"namespaces,omitempty"`
	Groups     []Group  `json:"nodes"`
}

// Group is a number of nodes that are alike.
type Group struct {
	Name      string            `json:"name"`
	Kind      Kind              `json:"kind"`
	Count     int               `json:"count"`
	Arch      string            `json:"arch,omitempty"`
	Resources map[string]string `json:"resources"`
	Labels    map[string]string `json:"labels,omitempty"`
	Taints    []Taint           `json:"taints,omitempty"`
}

// Kind is what runs the pods of a node.
type Kind string

// The kinds: pods are played, or their commands run as processes of this host.
const (
	Simulated Kind = "simulated"
	Process   Kind = "process"
)

// Taint keeps pods away that don't tolerate it.
type Taint struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Effect string `json:"effect"`
}

// WriteFile writes the file.
func (n Nodes) WriteFile(path string) error {
	text, err := json.MarshalIndent(n, "", "  ") // which is YAML, too
	if err != nil {
		return fmt.Errorf("writing the file of nodes: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the file of nodes: %w", err)
	}
	return nil
}
