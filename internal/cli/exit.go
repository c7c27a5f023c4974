package cli

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/client"
)

// The exit codes. docs/cli.md lists them for scripts.
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitRefused     = 4
	ExitUnreachable = 5
	// ExitJobFailed: the command did what it should, and the job that it
	// waited for did not succeed.
	ExitJobFailed = 6
)

// exitCodes says in words what each code means, in order.
var exitCodes = []string{
	ExitDone:        "done",
	ExitFailed:      "failed",
	ExitUsage:       "wrong usage: nothing was tried",
	ExitNotFound:    "not found",
	ExitRefused:     "refused: not allowed, not valid, over a limit, or in conflict with what is there",
	ExitUnreachable: "the server could not be reached, or could not do it now",
	ExitJobFailed:   "the job that was waited for did not succeed",
}

// usageError says that the command line itself is wrong.
type usageError struct {
	command string
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
}

// jobsFailedError says which of the jobs that were waited for did not succeed.
type jobsFailedError struct{ ended []string }

func (e *jobsFailedError) Error() string { return strings.Join(e.ended, "\n") }

// exitCode is the one place where an error becomes a number.
func exitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return ExitUsage
	}
	if _, ok := errors.AsType[*jobsFailedError](err); ok {
		return ExitJobFailed
	}
	if answer, ok := errors.AsType[*client.Error](err); ok {
		return exitOf(answer.Problem.Status)
	}
	if _, ok := errors.AsType[*client.Unreachable](err); ok {
		return ExitUnreachable
	}
	return ExitFailed
}

func exitOf(status int) int {
	switch {
	case status == http.StatusNotFound:
		return ExitNotFound
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return ExitUnreachable
	case status >= 400 && status < 500:
		return ExitRefused
	default:
		return ExitFailed
	}
}

// describe is what a person reads of an error: what was wrong, where, and what
// to do next.
func (p *Program) describe(err error) string {
	text := "gco: " + err.Error() + "\n"
	if usage, ok := errors.AsType[*usageError](err); ok {
		return fmt.Sprintf("%s: %v\nRun '%s --help' to see how it is used.\n", usage.command, err, usage.command)
	}
	if _, ok := errors.AsType[*client.Unreachable](err); ok {
		return text + p.hint("No server answers at %s (from %s). Start one on this machine with 'gco up', or name another with --addr or GCO_ADDR.\n")
	}
	if answer, ok := errors.AsType[*client.Error](err); ok {
		return text + p.advice(answer)
	}
	return text
}

// advice is what to do about an answer of the server.
func (p *Program) advice(answer *client.Error) string {
	switch answer.Problem.Status {
	case http.StatusUnauthorized:
		s, err := p.settings()
		if err != nil || s.token.value == "" {
			return "There is no token: pass --token-file, set GCO_TOKEN, or start a system of your own with 'gco up', which saves one.\n"
		}
		if !strings.HasPrefix(s.token.value, "gco_") {
			return fmt.Sprintf("The token comes from %s, and is none of GCO: those begin with gco_. See whether it is the right text, and all of it.\n", s.token.from)
		}
		return fmt.Sprintf("The token comes from %s and was sent to %s. Pass another with --token-file or GCO_TOKEN; an administrator can make one with 'gco tokens create'.\n", s.token.from, s.address.value)
	case http.StatusForbidden:
		return "Your token does not allow this; an administrator can make another with 'gco tokens create'.\n"
	case http.StatusTooManyRequests:
		if answer.RetryAfter > 0 {
			return fmt.Sprintf("Try again in %s.\n", answer.RetryAfter)
		}
	case http.StatusInternalServerError:
		if answer.RequestID != "" {
			return fmt.Sprintf("The server's log has more under request %s.\n", answer.RequestID)
		}
	}
	return ""
}

func (p *Program) hint(format string) string {
	s, err := p.settings()
	if err != nil {
		return ""
	}
	return fmt.Sprintf(format, s.address.value, s.address.from)
}
