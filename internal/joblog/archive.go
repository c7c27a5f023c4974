package joblog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/job"
)

// DefaultLimit is how much of one attempt's logs is archived, in bytes.
const DefaultLimit = 64 << 20

// trailerFormat is the last line of an archive. It says what the lines before
// it should be, so that a reader knows before the first byte what kind of
// archive it is, and after the last one whether it was whole.
const (
	trailerFormat = "#gco-log-1 bytes=%d sources=%d partial=%t sha256=%s\n"
	maxTrailer    = 256
)

// Archive keeps the logs of attempts that have ended, in a bucket. An archive
// is whole or not there at all.
type Archive struct {
	bucket *blob.Bucket
	limit  int64
}

// NewArchive keeps logs in a bucket, which the caller closes. A limit of 0 is
// DefaultLimit.
func NewArchive(bucket *blob.Bucket, limit int64) *Archive {
	if limit <= 0 {
		limit = DefaultLimit
	}
	return &Archive{bucket: bucket, limit: limit}
}

// prefixOf spreads jobs over 4,096 folders by the random end of their ID.
func prefixOf(id job.ID) string {
	text := string(id)
	return "logs/" + text[max(0, len(text)-3):] + "/" + text + "-"
}

func keyOf(id job.AttemptID) string { return fmt.Sprintf("%s%d.log", prefixOf(id.Job), id.Attempt) }

// Put stores the logs of an attempt, in the line format; it replaces what was
// there. partial says that the sender has lost some. What is over the limit
// is left out, and read to its end. The answer is LogsArchived or
// LogsPartial.
func (a *Archive) Put(ctx context.Context, id job.AttemptID, logs io.Reader, partial bool) (job.LogState, error) {
	over := false
	err := a.bucket.Write(ctx, keyOf(id), func(w io.Writer) (err error) {
		tally := &tally{sum: sha256.New(), sources: map[string]bool{}}
		if over, err = a.copy(io.MultiWriter(w, tally), logs); err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, trailerFormat, tally.bytes, len(tally.sources), partial || over, tally.hex())
		return err
	})
	if err != nil {
		return "", fmt.Errorf("archiving logs: %w", err)
	}
	if partial || over {
		return job.LogsPartial, nil
	}
	return job.LogsArchived, nil
}

// copy takes whole lines up to the limit, and drops the rest.
func (a *Archive) copy(to io.Writer, logs io.Reader) (over bool, err error) {
	limited := &io.LimitedReader{R: logs, N: a.limit}
	cut := &lineCutter{to: to}
	if _, err := io.Copy(cut, limited); err != nil {
		return false, err
	}
	dropped, err := io.Copy(io.Discard, logs)
	if err != nil {
		return false, err
	}
	return dropped > 0, cut.end(dropped == 0)
}

// Info says what the archive has of an attempt.
type Info struct {
	Partial bool
	// Sources counts the containers, pod by pod.
	Sources int

	bytes int64
	sum   string
}

// Stat returns ErrNotFound where there is no archive of the attempt.
func (a *Archive) Stat(ctx context.Context, id job.AttemptID) (Info, error) {
	key := keyOf(id)
	size, err := a.bucket.Size(ctx, key)
	if err != nil {
		return Info{}, unreadable(err)
	}
	reader, err := a.bucket.Read(ctx, key, max(0, size-maxTrailer), -1)
	if err != nil {
		return Info{}, unreadable(err)
	}
	defer reader.Close()
	end, err := io.ReadAll(reader)
	if err != nil {
		return Info{}, unreadable(err)
	}
	var info Info
	at := bytes.LastIndexByte(bytes.TrimSuffix(end, []byte{'\n'}), '\n') + 1
	n, _ := fmt.Sscanf(string(end[at:]), trailerFormat, &info.bytes, &info.Sources, &info.Partial, &info.sum)
	if n != 4 || info.bytes+int64(len(end)-at) != size {
		return Info{}, fmt.Errorf("%s ends without its trailer: %w", key, ErrCorrupt)
	}
	return info, nil
}

func unreadable(err error) error {
	if errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return fmt.Errorf("reading archived logs: %w", err)
}

// Write writes the part of an attempt's logs that options select. Damage
// shows only at the end, as ErrCorrupt, except with a Tail.
func (a *Archive) Write(ctx context.Context, to io.Writer, id job.AttemptID, options Options) error {
	info, err := a.Stat(ctx, id)
	if err != nil {
		return err
	}
	reader, err := a.bucket.Read(ctx, keyOf(id), 0, info.bytes)
	if err != nil {
		return unreadable(err)
	}
	defer reader.Close()
	checked := &checkedReader{from: reader, sum: sha256.New(), want: info.sum}
	return render(to, checked, options, info.Sources > 1)
}

// Delete removes all that the archive has of these jobs.
func (a *Archive) Delete(ctx context.Context, ids []job.ID) error {
	var failed []error
	for _, id := range ids {
		failed = append(failed, a.bucket.DeleteAll(ctx, prefixOf(id)))
	}
	return errors.Join(failed...)
}

// lineCutter passes whole lines on.
type lineCutter struct {
	to   io.Writer
	rest []byte
}

func (c *lineCutter) Write(p []byte) (int, error) {
	end := bytes.LastIndexByte(p, '\n') + 1
	if end == 0 && len(c.rest) < 2*MaxLine {
		c.rest = append(c.rest, p...)
		return len(p), nil
	}
	if end == 0 {
		end = len(p)
	}
	for _, part := range [][]byte{c.rest, p[:end]} {
		if len(part) > 0 {
			if _, err := c.to.Write(part); err != nil {
				return 0, err
			}
		}
	}
	c.rest = append(c.rest[:0], p[end:]...)
	return len(p), nil
}

// end writes the last line where it is whole but for its newline.
func (c *lineCutter) end(whole bool) error {
	if !whole || len(c.rest) == 0 {
		return nil
	}
	_, err := c.to.Write(append(c.rest, '\n'))
	return err
}

// tally counts what goes into an archive.
type tally struct {
	sum     hash.Hash
	bytes   int64
	sources map[string]bool
	line    []byte
}

func (t *tally) Write(p []byte) (int, error) {
	t.sum.Write(p)
	t.bytes += int64(len(p))
	const maxHead = 1024
	for rest := p; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n') + 1
		part := rest
		if end > 0 {
			part = rest[:end]
		}
		if room := maxHead - len(t.line); room > 0 {
			t.line = append(t.line, part[:min(room, len(part))]...)
		}
		if end > 0 {
			if line, ok := ParseLine(bytes.TrimSuffix(t.line, []byte{'\n'})); ok {
				t.sources[line.Source] = true
			}
			t.line = t.line[:0]
		}
		rest = rest[len(part):]
	}
	return len(p), nil
}

func (t *tally) hex() string { return hex.EncodeToString(t.sum.Sum(nil)) }

// checkedReader turns the end of damaged content into ErrCorrupt.
type checkedReader struct {
	from io.Reader
	sum  hash.Hash
	want string
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && hex.EncodeToString(r.sum.Sum(nil)) != r.want {
		return n, ErrCorrupt
	}
	return n, err
}
