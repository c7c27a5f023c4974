package joblog

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"time"
)

// Options selects a part of archived logs, as runtime.LogOptions do of live
// ones.
type Options struct {
	// Container is empty for all; each line is then prefixed with
	// "[pod/container] " where there is more than one.
	Container string
	// Tail is the number of last lines; 0 is all.
	Tail       int
	Since      time.Time
	Timestamps bool
}

// render writes an archive's lines as a runtime's Logs give live ones. many
// says that the archive has more than one source. *NoContainer: the
// container that options name has no line.
func render(to io.Writer, archive io.Reader, options Options, many bool) error {
	in := bufio.NewReaderSize(archive, MaxLine+1024)
	prefixed := many && options.Container == ""
	tail := newRing(options.Tail)
	wrote := map[string]bool{}
	var buffer []byte
	for {
		text, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(text) > 0 {
			line, ok := ParseLine(bytes.TrimSuffix(text, []byte{'\n'}))
			if ok && options.Container != "" {
				wrote[line.Container()] = true
			}
			if !ok || options.wants(line) {
				buffer = line.appendRendered(buffer[:0], prefixed, options.Timestamps)
				if tail == nil {
					if _, err := to.Write(buffer); err != nil {
						return err
					}
				} else {
					tail.add(buffer)
				}
			}
		}
		if err != nil {
			break
		}
	}
	if tail != nil {
		if err := tail.writeTo(to); err != nil {
			return err
		}
	}
	if options.Container != "" && !wrote[options.Container] {
		return &NoContainer{Container: options.Container, Wrote: slices.Sorted(maps.Keys(wrote))}
	}
	return nil
}

func (o Options) wants(line Line) bool {
	return (o.Container == "" || line.Container() == o.Container) && !line.At.Before(o.Since)
}

func (l Line) appendRendered(buffer []byte, prefixed, timestamps bool) []byte {
	if prefixed && l.Source != "" {
		buffer = append(buffer, '[')
		buffer = append(buffer, l.Source...)
		buffer = append(buffer, ']', ' ')
	}
	if timestamps && !l.At.IsZero() {
		buffer = l.At.AppendFormat(buffer, time.RFC3339Nano)
		buffer = append(buffer, ' ')
	}
	buffer = append(buffer, l.Text...)
	return append(buffer, '\n')
}

// ring keeps the last lines. What it can hold is bounded by the size of an
// archive.
type ring struct {
	lines [][]byte
	most  int
	next  int
}

func newRing(most int) *ring {
	if most <= 0 {
		return nil
	}
	return &ring{most: most}
}

func (r *ring) add(line []byte) {
	if len(r.lines) < r.most {
		r.lines = append(r.lines, bytes.Clone(line))
		return
	}
	r.lines[r.next] = append(r.lines[r.next][:0], line...)
	r.next = (r.next + 1) % r.most
}

func (r *ring) writeTo(to io.Writer) error {
	for i := range r.lines {
		if _, err := to.Write(r.lines[(r.next+i)%len(r.lines)]); err != nil {
			return err
		}
	}
	return nil
}
