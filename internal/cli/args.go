package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

// one takes exactly one argument, which help calls name.
func one(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s is missing", name)
		}
		return unexpected(args[1:])
	}
}

// exactly takes an argument for each name.
func exactly(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return fmt.Errorf("%s is missing", names[len(args)])
		}
		return unexpected(args[len(names):])
	}
}

// some takes one argument or more.
func some(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return fmt.Errorf("%s is missing", name)
		}
		return nil
	}
}

// none takes no argument.
func none(_ *cobra.Command, args []string) error { return unexpected(args) }

func unexpected(args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}
