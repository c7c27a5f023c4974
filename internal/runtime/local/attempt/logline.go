package attempt

import (
	"bytes"
	"time"
)

// MaxLogLine is how much of one line is stored as one piece, in bytes.
const MaxLogLine = 16 << 10

// logTime has the same width for every time, so that stored lines sort.
const logTime = "2006-01-02T15:04:05.000000000Z"

// LogLine is one stored piece of a container's output.
type LogLine struct {
	At time.Time
	// Text has no line feed; Whole says that one followed.
	Text  []byte
	Whole bool
}

// AppendLogLine adds a piece of output as it is stored: the time, F or P (for
// a whole line or the first part of one), the text.
func AppendLogLine(to []byte, at time.Time, text []byte) []byte {
	to = at.UTC().AppendFormat(to, logTime)
	text, whole := bytes.CutSuffix(text, []byte("\n"))
	if whole {
		to = append(to, " F "...)
	} else {
		to = append(to, " P "...)
	}
	return append(append(to, text...), '\n')
}

// ParseLogLine reads a stored line, without its line feed; false for one that
// was garbled.
func ParseLogLine(stored []byte) (LogLine, bool) {
	if len(stored) < len(logTime)+3 {
		return LogLine{}, false
	}
	at, err := time.Parse(logTime, string(stored[:len(logTime)]))
	if err != nil {
		return LogLine{}, false
	}
	switch text := stored[len(logTime)+3:]; string(stored[len(logTime) : len(logTime)+3]) {
	case " F ":
		return LogLine{at, text, true}, true
	case " P ":
		return LogLine{at, text, false}, true
	}
	return LogLine{}, false
}
