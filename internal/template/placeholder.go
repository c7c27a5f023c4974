package template

import (
	"errors"
	"fmt"
	"strings"
)

// piece is a part of a text: plain, or the value of a parameter.
type piece struct {
	plain string
	// name is that of the parameter; empty where the piece is plain.
	name string
	// formatted says that the value is wanted as a string in any case.
	formatted bool
}

// pieces reads a text. A placeholder is {{name}}, or {{name|string}} for a
// value that should be a string although it stands alone; {{"text"}} is that
// text, for braces that stand for themselves. Spaces may be inside.
func pieces(text string) ([]piece, error) {
	var all []piece
	for {
		plain, rest, found := strings.Cut(text, "{{")
		if plain != "" {
			all = append(all, piece{plain: plain})
		}
		if !found {
			return all, nil
		}
		one, after, err := placeholder(rest)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
		text = after
	}
}

// placeholder reads what follows two braces, and returns what comes behind
// the closing ones.
func placeholder(text string) (piece, string, error) {
	text = strings.TrimLeft(text, " ")
	if literal, found := strings.CutPrefix(text, `"`); found {
		plain, rest, found := strings.Cut(literal, `"`)
		after, closed := strings.CutPrefix(strings.TrimLeft(rest, " "), "}}")
		if !found || !closed {
			return piece{}, "", errors.New(`has {{" without "}}`)
		}
		return piece{plain: plain}, after, nil
	}
	inside, after, found := strings.Cut(text, "}}")
	if !found {
		return piece{}, "", errors.New(`has {{ without }}; for braces that stand for themselves write {{"{{"}}`)
	}
	name, filter, filtered := strings.Cut(inside, "|")
	name, filter = strings.TrimSpace(name), strings.TrimSpace(filter)
	if filtered && filter != "string" {
		return piece{}, "", fmt.Errorf("has {{%s}}; string is the only word that may follow the bar", shorten(inside))
	}
	if !parameterName.MatchString(name) {
		return piece{}, "", fmt.Errorf(`has {{%s}}, which is no name of a parameter; for braces that stand for themselves write {{"{{"}}`, shorten(inside))
	}
	return piece{name: name, formatted: filtered}, after, nil
}

// alone tells whether a text is one placeholder and nothing else, so that the
// value keeps its type.
func alone(all []piece) bool {
	return len(all) == 1 && all[0].name != "" && !all[0].formatted
}
