// Package cli is the gco command line: what a person types, turned into calls
// of the HTTP API or into a running daemon, and answers turned into tables,
// pages or JSON. Each command stands in a file of its own: options, the
// constructor that takes the run function, the run function. It decides
// nothing about jobs, and starts no loops itself: daemon does. cmd/gco calls
// it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/utils/clock"
)

// Env is everything that the program takes from its surroundings, so that a
// test can build one.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	// Terminal says that a person reads Out, ErrTerminal that one reads Err;
	// Width is the columns of the screen.
	Terminal    bool
	ErrTerminal bool
	Width       int
	Lookup      func(name string) (string, bool)
	// UserConfigDir and UserStateDir name the user's directories for
	// configuration and for data that may be thrown away.
	UserConfigDir func() (string, error)
	UserStateDir  func() (string, error)
	Clock         clock.WithTicker
	// Executable is the path of this program, for the processes that it
	// starts of itself.
	Executable func() (string, error)
}

// System is the Env of a real process.
func System() Env {
	return Env{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal:      isatty.IsTerminal(os.Stdout.Fd()),
		ErrTerminal:   isatty.IsTerminal(os.Stderr.Fd()),
		Width:         width(os.Stdout, os.Stderr),
		Lookup:        os.LookupEnv,
		UserConfigDir: os.UserConfigDir,
		UserStateDir:  userStateDir,
		Clock:         clock.RealClock{},
		Executable:    os.Executable,
	}
}

// width is that of the first file that is a screen.
func width(files ...*os.File) int {
	for _, file := range files {
		if size, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 {
			return int(size.Col)
		}
	}
	return 120
}

// Program is gco before it has been told what to do.
type Program struct {
	Env
	flags connection
}

// New returns the program for its surroundings.
func New(env Env) *Program { return &Program{Env: env} }

// Run does what args say, until it is done or the process is told to end, and
// returns the exit code. It reports errors on Env.Err.
func (p *Program) Run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return p.RunContext(ctx, args)
}

// RunContext is [Program.Run] without the signals: it ends with ctx.
func (p *Program) RunContext(ctx context.Context, args []string) int {
	root := p.Command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitDone
	}
	code := exitCode(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return code
	}
	fmt.Fprint(p.Err, p.describe(err))
	return code
}

// Groups of commands in the help.
const (
	groupSystem  = "system"
	groupJobs    = "jobs"
	groupOperate = "operate"
)

// Command returns the tree of all commands.
func (p *Program) Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "gco",
		Short: "Run batch jobs in whichever region has capacity, health and a good price",
		Long: `GCO takes batch jobs through one API and runs them on clusters in many
regions, wherever there is capacity, health and a good price.

"gco up" starts the whole system on this machine; every other command talks
to it, or to the server that --addr, GCO_ADDR or your config file names.`,
		Example: `  gco up
  gco submit examples/hello.yaml --wait --logs
  gco jobs list`,
		Version:           thisVersion().Version,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(p.In)
	root.SetOut(p.Out)
	root.SetErr(p.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef(cmd, "%w", err)
	})
	p.flags.register(root.PersistentFlags())
	root.AddGroup(
		&cobra.Group{ID: groupSystem, Title: "Run the system:"},
		&cobra.Group{ID: groupJobs, Title: "Jobs:"},
		&cobra.Group{ID: groupOperate, Title: "Operate:"},
	)
	add(root, groupSystem,
		newUp(p, runUp), newServer(p, runServer), newAgent(p, runAgent), newAccelerator(p, runAccelerator), newSupervise(), newSample(p, runSample))
	add(root, groupJobs, newSubmit(p, runSubmit), newJobs(p), newTemplates(p), newPipelines(p), newSchedules(p), newEndpoints(p), newModels(p), newEvents(p, runEvents), newWebhooks(p))
	add(root, groupOperate, newRegions(p), newStats(p, runStats), newTop(p, runTop), newTokens(p), newBackup(p), newHealth(p, runHealth))
	add(root, "", newConfig(p), newVersion(p, runVersion), newCompletion(p))
	checkArgsAsUsage(root)
	return root
}

func add(parent *cobra.Command, group string, children ...*cobra.Command) {
	for _, child := range children {
		child.GroupID = group
		parent.AddCommand(child)
	}
}

// checkArgsAsUsage makes wrong arguments of any command a usage error, and
// unknown subcommands too.
func checkArgsAsUsage(cmd *cobra.Command) {
	check := cmd.Args
	switch {
	case check != nil:
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usagef(cmd, "%w", err)
			}
			return nil
		}
	case cmd.HasSubCommands():
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			cmd.SuggestionsMinimumDistance = 2
			near := ""
			if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
				near = ", did you mean " + strings.Join(names, " or ") + "?"
			}
			return usagef(cmd, "there is no command %q%s", args[0], near)
		}
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	for _, child := range cmd.Commands() {
		checkArgsAsUsage(child)
	}
}

// userStateDir is XDG_STATE_HOME where that is set, else the directory for
// caches: a laptop's simulation is worth little more.
func userStateDir() (string, error) {
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return dir, nil
	}
	return os.UserCacheDir()
}
