package infra

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/config"
)

const docs = "../docs/"

// block is a fenced block of a document.
type block struct {
	language, text string
	line           int
}

func blocks(t *testing.T, name string) []block {
	t.Helper()
	text, err := os.ReadFile(docs + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []block
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case strings.HasPrefix(line, "```") && !inside:
			inside = true
			all = append(all, block{language: strings.TrimPrefix(line, "```"), line: i + 1})
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside:
			all[len(all)-1].text += line + "\n"
		}
	}
	return all
}

// TestDocumentedConfigurationsLoad: what a page tells to write is what the
// loader takes.
func TestDocumentedConfigurationsLoad(t *testing.T) {
	seen := 0
	for _, block := range blocks(t, "deploy.md") {
		if block.language != "yaml" {
			continue
		}
		seen++
		if _, err := config.Parse(fmt.Sprintf("deploy.md:%d", block.line), []byte(block.text)); err != nil {
			t.Error(err)
		}
	}
	if seen < 3 {
		t.Errorf("found %d configurations", seen)
	}
}

// TestDocumentedDoorGivesUpTheClientsAddress: the page's door is a network load
// balancer that ends TLS, to which Global Accelerator can't hand that address on.
func TestDocumentedDoorGivesUpTheClientsAddress(t *testing.T) {
	tls, members := false, 0
	for _, block := range blocks(t, "deploy.md") {
		tls = tls || strings.Contains(block.text, "create-listener") && strings.Contains(block.text, "--protocol TLS")
		if block.language != "yaml" {
			continue
		}
		conf, err := config.Parse(fmt.Sprintf("deploy.md:%d", block.line), []byte(block.text))
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range conf.AWS.LoadBalancers {
			members++
			if member.PreserveClientIP {
				t.Errorf("deploy.md:%d: preserveClientIP is true for %s", block.line, member.ARN)
			}
		}
	}
	if !tls || members == 0 {
		t.Errorf("TLS listener made: %t, members registered: %d", tls, members)
	}
}

func TestDocumentedCommandsAreShell(t *testing.T) {
	seen := 0
	for _, name := range []string{"deploy.md", "aws-config.md", "aws-alarms.md"} {
		for _, block := range blocks(t, name) {
			if block.language != "" || strings.HasPrefix(block.text, "gco.yaml:") {
				continue
			}
			seen++
			command := exec.CommandContext(t.Context(), "bash", "-n")
			command.Stdin = strings.NewReader(block.text)
			if out, err := command.CombinedOutput(); err != nil {
				t.Errorf("%s:%d: %v: %s", name, block.line, err, out)
			}
		}
	}
	if seen < 10 {
		t.Errorf("found %d blocks of commands", seen)
	}
}

// TestDocumentedParametersFit holds the example of aws-alarms.md against the
// patterns of the template that it is for.
func TestDocumentedParametersFit(t *testing.T) {
	text, err := os.ReadFile(docs + "aws-alarms.md")
	if err != nil {
		t.Fatal(err)
	}
	a := scenario(t, "production with replicas")
	parameters := readTemplate(t, a, "gco-accelerator-alarms").Parameters
	given := regexp.MustCompile(`--parameters (\w+)=(\S+)`).FindAllStringSubmatch(string(text), -1)
	for _, match := range given {
		parameter, _ := parameters[match[1]].(map[string]any)
		pattern, _ := parameter["AllowedPattern"].(string)
		if pattern == "" || !regexp.MustCompile("^(?:"+pattern+")$").MatchString(match[2]) {
			t.Errorf("%s: %q does not fit %q", match[1], match[2], pattern)
		}
	}
	if len(given) != 2 {
		t.Errorf("found %d parameters", len(given))
	}
}

// TestDocumentedTargetsExist: every make target that a page names is in
// infra.mk, but for those of the repository itself.
func TestDocumentedTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile("infra.mk")
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile(`make (?:-s |-C \.\. )*(infra-[a-z]+)`)
	seen := 0
	for _, name := range []string{"deploy.md", "aws-config.md", "aws-alarms.md", "aws-costs.md"} {
		text, err := os.ReadFile(docs + name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range target.FindAllStringSubmatch(string(text), -1) {
			seen++
			if !strings.Contains(string(makefile), "\n"+match[1]+":") {
				t.Errorf("%s: no target %s", name, match[1])
			}
		}
	}
	if seen == 0 {
		t.Error("found no target")
	}
}

// TestDocumentedDefaults holds the table of settings against the defaults of
// both profiles, and the other way round.
func TestDocumentedDefaults(t *testing.T) {
	text, err := os.ReadFile(docs + "aws-config.md")
	if err != nil {
		t.Fatal(err)
	}
	production, seed := defaults(t, "production"), defaults(t, "seed")
	row := regexp.MustCompile("(?m)^\\| `([a-zA-Z.]+)(?:\\[\\])?` \\| ([^|]+) \\| ([^|]+) \\|")
	var documented []string
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		path := match[1]
		if _, known := production[path]; !known {
			if path == "config" || path == "profile" || !strings.HasPrefix(path, "aws.") {
				continue // the table of context keys
			}
			t.Errorf("%s is no setting", path)
		}
		documented = append(documented, path)
		said := [2]string{plain(match[2]), plain(match[3])}
		if said[1] == "same" {
			said[1] = said[0]
		}
		if said[0] != production[path] || said[1] != seed[path] {
			t.Errorf("%s: documented %q and %q, are %q and %q", path, said[0], said[1], production[path], seed[path])
		}
	}
	for path := range production {
		if !slices.Contains(documented, path) && (path == "project" || strings.HasPrefix(path, "aws.")) {
			t.Errorf("%s is not documented", path)
		}
	}
}

// plain is a cell of the table as defaults writes values.
func plain(cell string) string {
	cell = strings.Trim(cell, " `")
	switch cell {
	case "none", "the deployment's":
		return ""
	}
	return cell
}

// defaults are a profile's settings by path, as text.
func defaults(t *testing.T, profile string) map[string]string {
	t.Helper()
	conf, err := config.Parse("", []byte("aws: {profile: "+profile+"}"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	flat := map[string]string{}
	var walk func(path string, node any)
	walk = func(path string, node any) {
		switch node := node.(type) {
		case map[string]any:
			for key, value := range node {
				walk(strings.TrimPrefix(path+"."+key, "."), value)
			}
		case nil:
			flat[path] = ""
		default:
			flat[path] = fmt.Sprint(node)
		}
	}
	walk("", tree)
	return flat
}
