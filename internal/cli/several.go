package cli

import (
	"errors"
	"fmt"
	"io"
)

// onEach makes a call for each name, and goes on after an error. It returns
// what came of the calls that worked; about begins the errors of the others,
// as in "cancelling job".
func onEach[T any](names []string, about string, call func(name string) (T, error)) (done []T, failed error) {
	done = []T{}
	var failures []error
	for _, name := range names {
		one, err := call(name)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s %s: %w", about, name, err))
			continue
		}
		done = append(done, one)
	}
	return done, errors.Join(failures...)
}

// removeEach removes what has these names, and prints each name that is gone.
func removeEach(out io.Writer, names []string, about string, remove func(name string) error) error {
	_, err := onEach(names, about, func(name string) (string, error) {
		err := remove(name)
		if err == nil {
			fmt.Fprintln(out, name)
		}
		return name, err
	})
	return err
}

// upTo reads pages of a list until there are so many items or no more.
func upTo[T any](limit int, read func(limit int, cursor string) (items []T, next string, err error), cursor string) (all []T, next string, err error) {
	all = []T{}
	for next = cursor; ; {
		items, after, err := read(min(limit-len(all), maxPage), next)
		if err != nil {
			return nil, "", err
		}
		all, next = append(all, items...), after
		if next == "" || len(all) >= limit {
			return all, next, nil
		}
	}
}

// more tells a person how a list goes on.
func (p *Program) more(output format, cursor string) {
	if cursor != "" && p.Terminal && output == "" {
		fmt.Fprintf(p.Err, "There are more; for the next ones add --cursor %s\n", cursor)
	}
}
