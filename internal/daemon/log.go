package daemon

import (
	"cmp"
	"io"
	"log/slog"
	"strings"

	"github.com/gco-project/gco/internal/config"
)

// LogOptions says what the process's log looks like.
type LogOptions struct {
	Out io.Writer
	// Terminal says that a person reads Out.
	Terminal bool
	Log      config.Log
	// Level stands where Log leaves the level to the role.
	Level slog.Level
}

// NewLog returns the logger of the process: text for a person, JSON for
// machines, unless the configuration says otherwise.
func NewLog(o LogOptions) *slog.Logger {
	handlerOptions := &slog.HandlerOptions{Level: levelOf(o.Log.Level, o.Level)}
	if o.Log.Format == "text" || cmp.Or(o.Log.Format, "auto") == "auto" && o.Terminal {
		return slog.New(slog.NewTextHandler(o.Out, handlerOptions))
	}
	return slog.New(slog.NewJSONHandler(o.Out, handlerOptions))
}

func levelOf(name string, otherwise slog.Level) slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(strings.ToUpper(name))) != nil {
		return otherwise
	}
	return level
}
