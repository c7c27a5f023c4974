package config

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds nesting, so that a hostile file can't exhaust the stack.
const maxDepth = 32

// tree is a file and its overlays before they have Go types.
type tree struct {
	root *yaml.Node
	// source tells for a node that an overlay brought where it came from;
	// every other node has a line of the file.
	source map[*yaml.Node]string
	// nodes holds, for every path seen while decoding, the node that set it.
	nodes map[string]*yaml.Node
}

// readTree parses one YAML document. Text that is no YAML gives an empty tree
// and a fault; a second document gives a fault and the tree of the first.
func readTree(text []byte) (*tree, []Fault) {
	t := &tree{
		root:   &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"},
		source: map[*yaml.Node]string{},
		nodes:  map[string]*yaml.Node{},
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return t, nil
	case err != nil:
		return t, []Fault{{Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}}
	}
	var faults []Fault
	var second yaml.Node
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		faults = append(faults, Fault{Message: "one YAML document expected, found another after it"})
	}
	switch root := document.Content[0]; {
	case isNull(root):
	case root.Kind != yaml.MappingNode:
		faults = append(faults, Fault{Message: "a mapping expected, found " + describe(root), Where: lineOf(root)})
	default:
		t.root = root
	}
	return t, faults
}

// overlay merges o into the tree.
func (t *tree) overlay(o Overlay) []Fault {
	node := &yaml.Node{}
	if err := node.Encode(o.Value); err != nil {
		return []Fault{{Message: fmt.Sprintf("unusable value: %v", err), Where: o.Source}}
	}
	if node.Kind != yaml.MappingNode {
		return nil
	}
	t.mark(node, o.Source)
	t.merge(t.root, node)
	return nil
}

func (t *tree) mark(node *yaml.Node, source string) {
	t.source[node] = source
	for _, child := range node.Content {
		t.mark(child, source)
	}
}

func (t *tree) merge(base, over *yaml.Node) {
	for i := 0; i+1 < len(over.Content); i += 2 {
		key, value := over.Content[i], over.Content[i+1]
		present := lookup(base, key.Value)
		switch {
		case present == nil:
			base.Content = append(base.Content, key, value)
		case present.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			t.merge(present, value)
		default:
			*present = *value
			t.mark(present, t.source[value])
		}
	}
}

// profile returns the profile that the tree asks for, and production where it
// names none or an unknown one: decoding reports that.
func (t *tree) profile() Profile {
	if aws := lookup(t.root, "aws"); aws != nil {
		if node := lookup(aws, "profile"); node != nil && node.Value == string(ProfileSeed) {
			return ProfileSeed
		}
	}
	return ProfileProduction
}

// where tells the place of the value at path, or of the nearest parent that was
// set.
func (t *tree) where(path string) string {
	for {
		if node, ok := t.nodes[path]; ok {
			return t.place(node)
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return ""
		}
		path = path[:cut]
	}
}

func (t *tree) place(node *yaml.Node) string {
	if source, ok := t.source[node]; ok {
		return source
	}
	return lineOf(node)
}

// split turns a text of an overlay into the list that it stands for: on a command
// line a,b is easier to write than [a, b]. In a file a list is a list.
func (t *tree) split(node *yaml.Node) *yaml.Node {
	source, overlaid := t.source[node]
	if !overlaid || node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" {
		return node
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for item := range strings.SplitSeq(node.Value, ",") {
		child := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.TrimSpace(item)}
		list.Content = append(list.Content, child)
	}
	t.mark(list, source)
	return list
}

// lookup returns the first value of key in a mapping, or nil.
func lookup(mapping *yaml.Node, key string) *yaml.Node {
	if mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func lineOf(node *yaml.Node) string {
	if node.Line == 0 {
		return ""
	}
	return fmt.Sprintf("line %d", node.Line)
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// describe names a node for a message: what a person sees in the file.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		if isNull(node) {
			return "nothing"
		}
		return fmt.Sprintf("%q", node.Value)
	}
}
