package joblog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"
)

// MaxLine bounds one archived line, in bytes; the rest of a longer one goes
// on in further lines of the same time and source.
const MaxLine = 64 << 10

// Line is one line of an archive. As text it is
//
//	<time, RFC 3339 with nanoseconds, UTC> <pod>/<container> <text>
//
// and ends with a newline. The text may be empty and holds no newline; the
// space before it is always there.
type Line struct {
	At time.Time
	// Source is "pod/container".
	Source string
	Text   []byte
}

// Append writes the line, with its newline, at the end of buffer.
func (l Line) Append(buffer []byte) []byte {
	buffer = l.At.UTC().AppendFormat(buffer, time.RFC3339Nano)
	buffer = append(buffer, ' ')
	buffer = append(buffer, l.Source...)
	buffer = append(buffer, ' ')
	buffer = append(buffer, l.Text...)
	return append(buffer, '\n')
}

// ParseLine reads one line, without its newline. Text that does not have the
// format is kept as it is, without time and source, and ok is false.
func ParseLine(text []byte) (line Line, ok bool) {
	stamp, rest, found := bytes.Cut(text, []byte{' '})
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if !found || err != nil {
		return Line{Text: text}, false
	}
	source, rest, found := bytes.Cut(rest, []byte{' '})
	if !found || bytes.IndexByte(source, '/') < 1 {
		return Line{Text: text}, false
	}
	return Line{At: at, Source: string(source), Text: rest}, true
}

// Container is the source's container.
func (l Line) Container() string {
	_, container, _ := strings.Cut(l.Source, "/")
	return container
}

// Rewrite turns what a runtime's Logs give with Timestamps into the format of
// the archive. Source ("pod/container") names lines without a prefix, as they
// come where there is one container only. It stops after limit bytes, and
// then partial is true. A line without a time gets that of the line before.
func Rewrite(to io.Writer, logs io.Reader, source string, limit int64) (partial bool, err error) {
	in := bufio.NewReaderSize(logs, MaxLine)
	out := bufio.NewWriterSize(to, MaxLine)
	line := Line{Source: source}
	var written int64
	var buffer []byte
	for fresh := true; ; {
		text, err := in.ReadSlice('\n')
		whole := err == nil
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) && !errors.Is(err, io.EOF) {
			return false, errors.Join(err, out.Flush())
		}
		if len(text) > 0 {
			text = bytes.TrimSuffix(text, []byte{'\n'})
			if fresh {
				line = runtimeLine(text, source, line.At)
			} else {
				line.Text = text
			}
			buffer = line.Append(buffer[:0])
			if written += int64(len(buffer)); written > limit {
				return true, out.Flush()
			}
			if _, err := out.Write(buffer); err != nil {
				return false, err
			}
		}
		if errors.Is(err, io.EOF) {
			return false, out.Flush()
		}
		fresh = whole
	}
}

// runtimeLine reads "[pod/container] time text", "time [pod/container] text"
// and "time text".
func runtimeLine(text []byte, source string, before time.Time) Line {
	line := Line{At: before, Source: source}
	prefix, text := cutPrefix(text)
	stamp, rest, _ := bytes.Cut(text, []byte{' '})
	if at, err := time.Parse(time.RFC3339Nano, string(stamp)); err == nil {
		line.At, text = at, rest
	}
	if prefix == "" {
		prefix, text = cutPrefix(text)
	}
	if prefix != "" {
		line.Source = prefix
	}
	line.Text = text
	return line
}

// cutPrefix takes "[pod/container] " off the text. The text of a program may
// begin with a bracket as well, so only names of Kubernetes count.
func cutPrefix(text []byte) (source string, rest []byte) {
	if len(text) == 0 || text[0] != '[' {
		return "", text
	}
	end := bytes.Index(text, []byte("] "))
	if end < 2 || end > 2*254 {
		return "", text
	}
	name := text[1:end]
	if bytes.Count(name, []byte{'/'}) != 1 || name[0] == '/' || name[len(name)-1] == '/' || bytes.ContainsFunc(name, func(r rune) bool {
		return !(r == '/' || r == '-' || r == '.' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
	}) {
		return "", text
	}
	return string(name), text[end+2:]
}
