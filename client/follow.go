package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/gco-project/gco/api"
)

// lateLines is how much older than the newest line that came another
// container's line may be that is still to come.
const lateLines = 10 * time.Second

// maxCuts bounds how often archived logs may break off without giving
// anything new: they will not mend.
const maxCuts = 3

// followedLogs is the text of an attempt's logs. Where they are followed and
// the connection broke it opens another, from a little before the newest line that
// came, and leaves out what came before. So it asks for the time of each line,
// and takes it off where the caller does not want it.
type followedLogs struct {
	link
	path    string
	options LogOptions

	response *http.Response
	lines    *bufio.Reader
	// sources tells how far each "[pod/container] " has come, newest how far
	// all have.
	sources map[string]*logSource
	newest  time.Time
	// left is what Read has not given yet.
	left []byte
}

// logSource is the lines of one container.
type logSource struct {
	// at is the time of its last line, and same counts the lines of that very
	// time.
	at   time.Time
	same map[string]int
	// again is what of same has not come again on a new connection; nil as soon
	// as something new came.
	again map[string]int
}

// mayGoOn tells whether logs that were refused may go on later.
func mayGoOn(err error) bool { return passing(err) || Is(err, api.ProblemRegionSilent) }

func (f *followedLogs) call() call {
	options := f.options
	options.Timestamps = options.Timestamps || options.Follow
	if !f.newest.IsZero() {
		options.Tail = 0
		if since := f.newest.Add(-lateLines); since.After(options.Since) {
			options.Since = since
		}
	}
	return call{method: http.MethodGet, path: f.path, query: options.query(), repeat: true}
}

func (f *followedLogs) connect() error {
	response, err := f.client.open(f.ctx, f.call())
	if err != nil {
		return err
	}
	for _, source := range f.sources {
		source.again = maps.Clone(source.same)
	}
	f.response, f.lines = response, bufio.NewReader(response.Body)
	return nil
}

// Read gives whole lines, each once, of logs that are followed.
func (f *followedLogs) Read(p []byte) (int, error) {
	if !f.options.Follow {
		return f.response.Body.Read(p)
	}
	for len(f.left) == 0 {
		line, err := f.lines.ReadBytes('\n')
		if err == nil || errors.Is(err, io.EOF) && len(line) > 0 {
			f.left = f.fresh(line)
			continue
		}
		if errors.Is(err, io.EOF) || f.ctx.Err() != nil {
			return 0, err
		}
		f.response.Body.Close()
		if f.failures >= maxCuts && f.response.Header.Get("Gco-Logs") != "live" {
			return 0, err
		}
		if err := f.again(err, f.connect); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.left)
	f.left = f.left[n:]
	return n, nil
}

// fresh returns what to show of a line; nothing if it came before.
func (f *followedLogs) fresh(line []byte) []byte {
	name, at, text := cutTime(line)
	if at.IsZero() {
		f.failures = 0
		return line
	}
	if !f.source(name).isNew(at, string(text)) {
		return nil
	}
	f.failures = 0
	if at.After(f.newest) {
		f.newest = at
	}
	if f.options.Timestamps {
		return line
	}
	return append([]byte(name), text...)
}

// source finds the lines of a source. Where there was one only, a prefix may
// have come or gone: there was no need for it, or the archive sees none.
func (f *followedLogs) source(name string) *logSource {
	source := f.sources[name]
	if source == nil && len(f.sources) == 1 {
		for other, only := range f.sources {
			if other == "" || name == "" {
				source = only
			}
		}
	}
	if source == nil {
		source = &logSource{same: map[string]int{}}
		f.sources[name] = source
	}
	return source
}

// isNew notes a line, and tells whether it is none that came before.
func (s *logSource) isNew(at time.Time, text string) bool {
	if s.again != nil {
		if at.Before(s.at) {
			return false
		}
		if at.Equal(s.at) && s.again[text] > 0 {
			s.again[text]--
			return false
		}
	}
	s.again = nil
	if at.After(s.at) {
		s.at = at
		clear(s.same)
	}
	if at.Equal(s.at) {
		s.same[text]++
	}
	return true
}

// cutTime takes a line apart, which begins with the source in brackets and the
// time, in either order, or with the time alone. A line without a time is all
// text.
func cutTime(line []byte) (source string, at time.Time, text []byte) {
	source, rest := cutSource(line)
	stamp, text, _ := bytes.Cut(rest, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return "", time.Time{}, line
	}
	if source == "" {
		source, text = cutSource(text)
	}
	return source, at, text
}

// cutSource takes "[pod/container] " off a line.
func cutSource(line []byte) (source string, rest []byte) {
	end := bytes.Index(line, []byte("] "))
	if end < 0 || line[0] != '[' || bytes.Count(line[:end], []byte("/")) != 1 || bytes.IndexByte(line[:end], ' ') >= 0 {
		return "", line
	}
	return string(line[:end+2]), line[end+2:]
}

// Close ends the logs; a Read that waits returns.
func (f *followedLogs) Close() error {
	f.cancel()
	return f.response.Body.Close()
}
