package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
)

func newCompletion(p *Program) *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print the shell's completion script",
		Long: `Completion prints a script that teaches a shell to complete gco's commands,
flags, job IDs, regions and states.`,
		Example: `  source <(gco completion bash)
  gco completion zsh > "${fpath[1]}/_gco"
  gco completion fish > ~/.config/fish/completions/gco.fish`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(p.Out, true)
			case "zsh":
				return root.GenZshCompletion(p.Out)
			case "fish":
				return root.GenFishCompletion(p.Out, true)
			default:
				return root.GenPowerShellCompletionWithDesc(p.Out)
			}
		},
	}
}

// completionTime bounds what a press of the tab key may take.
const completionTime = 2 * time.Second

type completer = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective)

// complete gives a flag fixed values to complete.
func complete(cmd *cobra.Command, flag string, values ...string) {
	completeWith(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

func completeWith(cmd *cobra.Command, flag string, f completer) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic("cli: " + err.Error()) // only for a flag that does not exist
	}
}

// states are the names of all job states.
func states() []string {
	names := make([]string, len(job.States))
	for i, state := range job.States {
		names[i] = string(state)
	}
	return names
}

// jobIDs completes IDs of recent jobs for which want holds.
func (p *Program) jobIDs(want func(job.State) bool) completer {
	return p.ask(func(ctx context.Context, c *client.Client, args []string) ([]string, error) {
		filter := client.JobFilter{Limit: 100}
		if want != nil {
			for _, state := range job.States {
				if want(state) {
					filter.States = append(filter.States, string(state))
				}
			}
		}
		list, err := c.Jobs(ctx, filter)
		var ids []string
		for _, j := range list.Items {
			ids = append(ids, cobra.CompletionWithDesc(j.ID, j.Name+", "+j.State))
		}
		return ids, err
	})
}

// regionNames completes names of regions.
func (p *Program) regionNames() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Regions(ctx)
		var names []string
		for _, region := range list.Items {
			names = append(names, cobra.CompletionWithDesc(region.Name, "lease "+region.Lease))
		}
		return names, err
	})
}

// endpointNames completes names of endpoints.
func (p *Program) endpointNames() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Endpoints(ctx, maxPage, "")
		var names []string
		for _, e := range list.Items {
			names = append(names, cobra.CompletionWithDesc(e.Name, e.State))
		}
		return names, err
	})
}

// tokenIDs completes IDs of tokens.
func (p *Program) tokenIDs() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Tokens(ctx)
		var ids []string
		for _, token := range list.Items {
			ids = append(ids, cobra.CompletionWithDesc(token.ID, token.Name+", "+token.Role))
		}
		return ids, err
	})
}

// backupIDs completes IDs of backups.
func (p *Program) backupIDs() completer {
	return once(p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Backups(ctx)
		var ids []string
		for _, b := range list.Items {
			ids = append(ids, cobra.CompletionWithDesc(b.ID, b.State))
		}
		return ids, err
	}))
}

// ask completes with what the server says, and with nothing if it says
// nothing soon.
func (p *Program) ask(question func(context.Context, *client.Client, []string) ([]string, error)) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		c, err := p.connect(client.WithAttempts(1))
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		values, err := question(ctx, c, args)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var matching []string
		for _, value := range values {
			if strings.HasPrefix(value, typed) {
				matching = append(matching, value)
			}
		}
		return matching, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// once completes the first argument only.
func once(f completer) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, typed)
	}
}
