package supervise

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gco-project/gco/internal/runtime/local/attempt"
)

// logFile takes the output of one run of a container to its file, line by
// line with the time. Restarts append to what is there.
type logFile struct {
	file  *os.File
	read  *os.File
	write *os.File
	limit int64
	size  int64
	// full: the limit was reached. torn: something could not be written.
	full bool
	torn bool
}

func openLog(path string, limit int64) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log: %w", err)
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the log: %w", err), file.Close())
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making a pipe for the output: %w", err), file.Close())
	}
	return &logFile{file: file, read: read, write: write, limit: limit, size: size, full: size >= limit}, nil
}

// writer is what the process writes to: a descriptor that blocks.
func (l *logFile) writer() uintptr { return l.write.Fd() }

func (l *logFile) closeWriter() error { return l.write.Close() }

func (l *logFile) abandon() error {
	return errors.Join(l.write.Close(), l.read.Close(), l.file.Close())
}

// stop makes copy return although somebody could still write.
func (l *logFile) stop() { _ = l.read.SetReadDeadline(now()) }

// copy returns when nobody can write to the pipe any more. Whatever goes
// wrong with the file, the pipe is read to its end: a full disk must not stop
// the job.
func (l *logFile) copy() {
	defer l.read.Close()
	defer l.file.Close()
	input := bufio.NewReaderSize(l.read, attempt.MaxLogLine)
	var out []byte
	for {
		text, err := input.ReadSlice('\n')
		over := err != nil && !errors.Is(err, bufio.ErrBufferFull)
		if over && len(text) > 0 {
			text = append(text, '\n') // the last line had none
		}
		if len(text) > 0 {
			out = attempt.AppendLogLine(out, now(), text)
		}
		if over {
			l.put(out)
			return
		}
		if input.Buffered() == 0 || len(out) > 4*attempt.MaxLogLine {
			l.put(out)
			out = out[:0]
		}
	}
}

// put writes stored lines, as many as the limit allows.
func (l *logFile) put(text []byte) {
	if l.full || len(text) == 0 {
		return
	}
	if l.torn {
		text = append(notice("output is missing here: the log could not be written"), text...)
	}
	if room := max(l.limit-l.size, 0); int64(len(text)) > room {
		fitting := bytes.LastIndexByte(text[:room], '\n') + 1
		text = append(text[:fitting:fitting], notice("the limit of %d bytes for this log was reached: what follows is not kept", l.limit)...)
		l.full = true
	}
	n, err := l.file.Write(text)
	if err == nil {
		l.torn = false
		l.size += int64(n)
		return
	}
	l.torn, l.full = true, false
	if n > 0 {
		// Half a line would garble the one after it.
		_ = l.file.Truncate(l.size)
	}
}

// notice is a stored line that the container did not write.
func notice(format string, args ...any) []byte {
	return attempt.AppendLogLine(nil, now(), fmt.Appendf(nil, "[gco] "+format+"\n", args...))
}
