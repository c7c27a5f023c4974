package supervise

import (
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// environment is what a container's process is started with.
type environment struct{ values map[string]string }

// environment builds a container's variables: a clean base, then what the
// manifest says, then what GCO promises and nobody may override.
func (s *supervisor) environment(p *pod, c *container) environment {
	home := s.dir.Pod(p.name)
	slot := p.job.plan.Slots[p.slot]
	env := environment{map[string]string{
		"PATH": s.record.Path, "HOME": home, "TMPDIR": filepath.Join(home, "tmp"), "LANG": "C.UTF-8",
		"HOSTNAME": p.name,
	}}
	fixed := s.fixed(p, c, home, slot)
	maps.Copy(env.values, fixed)
	for _, variable := range c.template.Env {
		switch {
		case variable.Field != "":
			env.values[variable.Name] = field(variable.Field, p, slot)
		case variable.Verbatim:
			env.values[variable.Name] = variable.Value
		default:
			env.values[variable.Name] = env.expand(variable.Value)
		}
		if value, ours := fixed[variable.Name]; ours {
			env.values[variable.Name] = value
		}
	}
	return env
}

func (s *supervisor) fixed(p *pod, c *container, home string, slot attempt.Slot) map[string]string {
	fixed := map[string]string{
		"GCO_JOB_ID":     s.record.ID.Job,
		"GCO_JOB_NAME":   s.record.Name,
		"GCO_ATTEMPT":    strconv.Itoa(s.record.ID.Attempt),
		"GCO_REGION":     s.record.Region,
		"GCO_NODE":       slot.Node,
		"GCO_CHECKPOINT": s.record.Checkpoint,
		"GCO_RESULT":     s.dir.Result(),
	}
	if s.record.Model != "" {
		fixed["GCO_MODEL"] = s.record.Model
	}
	marker, value := attempt.ContainerMarker(s.record.Token, p.name, c.template.Name)
	fixed[marker] = value
	if p.index >= 0 {
		fixed["JOB_COMPLETION_INDEX"] = strconv.Itoa(p.index)
	}
	for _, volume := range c.template.Volumes {
		fixed[volumeVariable(volume)] = filepath.Join(home, "volumes", volume)
	}
	devices := gpusOf(p.template, slot.GPUs, c.template.Name)
	fixed["CUDA_VISIBLE_DEVICES"], fixed["NVIDIA_VISIBLE_DEVICES"] = devices, devices
	if devices == "" {
		fixed["NVIDIA_VISIBLE_DEVICES"] = "void"
	}
	return fixed
}

// volumeVariable names the directory of an emptyDir volume.
func volumeVariable(volume string) string {
	return "GCO_VOLUME_" + strings.ToUpper(strings.ReplaceAll(volume, "-", "_"))
}

// gpusOf shares out a slot's GPUs. What runs at the same time gets different
// ones: sidecars and the regular containers in their order. An ordinary init
// container runs alone but for the sidecars before it, so it takes from those
// that the regular ones get later.
func gpusOf(template attempt.Pod, gpus []int, name string) string {
	next := 0
	take := func(n int) string {
		from := min(next, len(gpus))
		taken := gpus[from:min(from+n, len(gpus))]
		texts := make([]string, len(taken))
		for i, gpu := range taken {
			texts[i] = strconv.Itoa(gpu)
		}
		return strings.Join(texts, ",")
	}
	for _, c := range template.All() {
		if c.Name == name {
			return take(c.GPUs)
		}
		ordinaryInit := !c.Sidecar && slices.ContainsFunc(template.Init, func(i attempt.Container) bool { return i.Name == c.Name })
		if !ordinaryInit {
			next += c.GPUs
		}
	}
	return ""
}

func field(path string, p *pod, slot attempt.Slot) string {
	switch path {
	case attempt.FieldName:
		return p.name
	case attempt.FieldUID:
		return p.uid
	case attempt.FieldNode:
		return slot.Node
	case attempt.FieldIndex:
		if p.index >= 0 {
			return strconv.Itoa(p.index)
		}
	}
	return ""
}

func (e environment) value(name string) string { return e.values[name] }

func (e environment) list() []string {
	list := make([]string, 0, len(e.values))
	for name, value := range e.values {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

func (e environment) expandAll(texts []string) []string {
	expanded := make([]string, len(texts))
	for i, text := range texts {
		expanded[i] = e.expand(text)
	}
	return expanded
}

// expand replaces $(NAME) by the variable's value, leaves the references to
// unknown ones, and turns $$ into $, as Kubernetes does.
func (e environment) expand(text string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(text, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		text = after
		switch {
		case strings.HasPrefix(text, "$"):
			out.WriteByte('$')
			text = text[1:]
		case strings.HasPrefix(text, "("):
			text = e.reference(&out, text)
		default:
			out.WriteByte('$')
		}
	}
}

// reference expands text, which begins with "(", and returns what follows.
func (e environment) reference(out *strings.Builder, text string) string {
	name, rest, closed := strings.Cut(text[1:], ")")
	if !closed {
		out.WriteByte('$')
		return text
	}
	value, known := e.values[name]
	if !known {
		value = "$(" + name + ")"
	}
	out.WriteString(value)
	return rest
}
