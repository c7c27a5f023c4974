package infra

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// maxPolicy is what IAM takes as one managed policy, in characters without
// white space.
const maxPolicy = 6144

// TestPolicyCoversEveryResource: for each type in a template there are actions,
// and none for a type that is nowhere.
func TestPolicyCoversEveryResource(t *testing.T) {
	for name := range scenarios {
		a := scenario(t, name)
		var used, covered []string
		for _, stack := range a.Stacks {
			for _, resource := range readTemplate(t, a, stack).Resources {
				kind, _ := resource.(map[string]any)["Type"].(string)
				used = append(used, kind)
			}
		}
		for _, p := range permissions(a.Config) {
			covered = append(covered, p.types...)
		}
		for _, kind := range used {
			if !slices.Contains(covered, kind) {
				t.Errorf("%s: the policy says nothing of %s", name, kind)
			}
		}
		for _, p := range permissions(a.Config) {
			if p.sid != "AlarmTopic" && !slices.ContainsFunc(p.types, func(kind string) bool { return slices.Contains(used, kind) }) {
				t.Errorf("%s: nothing needs statement %s", name, p.sid)
			}
		}
	}
}

func TestPolicyFits(t *testing.T) {
	for name := range scenarios {
		text, err := Policy(scenario(t, name).Config)
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, text); err != nil {
			t.Fatal(err)
		}
		if size := len(strings.Join(strings.Fields(compact.String()), "")); size > maxPolicy {
			t.Errorf("%s: %d characters, IAM takes %d", name, size, maxPolicy)
		}
	}
}

// TestPolicyIsNarrow: no action on everything that could have a name, and no
// policy but the stack's own for the stack's roles.
func TestPolicyIsNarrow(t *testing.T) {
	wide := []string{"Keys", "Backups", "Accelerator", "ReplicaScaling"}
	for _, p := range permissions(scenario(t, "production").Config) {
		for _, action := range p.actions {
			if strings.HasSuffix(action, ":*") {
				t.Errorf("%s allows %s", p.sid, action)
			}
		}
		if slices.Contains(p.resources, "*") != slices.Contains(wide, p.sid) {
			t.Errorf("%s reaches %v", p.sid, p.resources)
		}
		if slices.Contains(p.actions, "iam:AttachRolePolicy") && !slices.Equal(p.condition["ArnLike"]["iam:PolicyARN"], []string{"arn:aws:iam::*:policy/gco-global*", "arn:aws:iam::*:policy/gco-state*"}) {
			t.Errorf("%s attaches anything: %v", p.sid, p.condition)
		}
		if slices.Contains(p.actions, "iam:PutRolePolicy") {
			t.Errorf("%s writes inline policies, which no condition can hold", p.sid)
		}
		if slices.Contains(p.actions, "iam:PassRole") && !slices.Equal(p.condition["StringEqualsIfExists"]["iam:PassedToService"], []string{"backup.amazonaws.com"}) {
			t.Errorf("%s passes roles to anyone: %v", p.sid, p.condition)
		}
	}
}
