package cli

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

const docsFile = "../../docs/cli.md"

//go:generate go test . -run ^TestDocsAreCurrent$ -update

func TestDocsAreCurrent(t *testing.T) {
	p, _, _ := testProgram(t)
	want := reference(p.Command())
	if *update {
		if err := os.WriteFile(docsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(docsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the commands say; run: go test ./internal/cli -run TestDocsAreCurrent -update", docsFile)
	}
}

// reference is the whole of docs/cli.md.
func reference(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(`# The command line

Generated from the commands themselves; ` + "`gco COMMAND --help`" + ` says the same. To begin, see
[getting started](getting-started.md).

## For all commands

Which server a command talks to comes from flags, then the environment (` + "`GCO_ADDR`, `GCO_TOKEN`,\n`GCO_TOKEN_FILE`, `GCO_CA_FILE`" + `), then your config file: ` + "`gco/config.yaml`" + ` in your directory for
configuration, or the file that ` + "`GCO_CONFIG`" + ` names. ` + "`gco up`" + ` writes that file, unless you have one of
your own.

On a terminal commands print tables for people. Into a pipe they print the same columns separated by
tabs, with a header, times in RFC 3339, and nothing cut off. ` + "`-o json`, `-o yaml` and `-o name`" + ` are for
programs; JSON is what the API answered. Progress goes to standard error. ` + "`NO_COLOR`" + ` switches colours
off.

`)
	b.WriteString(flagTable("Flag of every command", root.PersistentFlags()))
	b.WriteString("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for code, meaning := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", code, meaning)
	}
	each(root, func(cmd *cobra.Command) {
		if cmd != root && !cmd.Hidden {
			section(&b, cmd)
		}
	})
	return b.String()
}

func section(b *strings.Builder, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n", cmd.CommandPath())
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(text + "\n")
	if cmd.HasSubCommands() {
		b.WriteString("\n")
		for _, child := range cmd.Commands() {
			anchor := strings.ReplaceAll(child.CommandPath(), " ", "-")
			fmt.Fprintf(b, "- [%s](#%s): %s\n", child.CommandPath(), anchor, child.Short)
		}
		return
	}
	fmt.Fprintf(b, "\n```\n%s\n```\n\nExamples:\n\n```\n", cmd.UseLine())
	for line := range strings.Lines(cmd.Example) {
		b.WriteString(strings.TrimPrefix(line, "  "))
	}
	b.WriteString("\n```\n")
	if table := flagTable("Flag", cmd.LocalNonPersistentFlags()); table != "" {
		b.WriteString("\n" + table)
	}
}

func flagTable(title string, flags *pflag.FlagSet) string {
	var rows strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		if value != "" {
			name += " " + strings.ReplaceAll(value, "|", "\\|")
		}
		usage = strings.ReplaceAll(usage, "|", "\\|")
		if shown := f.DefValue; shown != "" && shown != "0" && shown != "0s" && shown != "false" && shown != "[]" {
			usage += " (default " + shown + ")"
		}
		fmt.Fprintf(&rows, "| %s` | %s |\n", name, usage)
	})
	if rows.Len() == 0 {
		return ""
	}
	return "| " + title + " | |\n|---|---|\n" + rows.String()
}
