package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// checkSize is the size up to which Open reads a whole database file to see
// whether it is sound; it takes a second for a few hundred megabytes. In a
// larger one damage shows when a damaged page is read.
const checkSize = 64 << 20

// inspect refuses a file that must not be opened for writing: a damaged one,
// someone else's, or one with a newer schema. It changes neither the database
// nor its log.
func inspect(ctx context.Context, path string) error {
	size, err := makeFile(path)
	if err != nil {
		return err
	}
	if size == 0 {
		// SQLite would throw the log away.
		if log, err := os.Stat(path + "-wal"); err == nil && log.Size() > 0 {
			return damaged("it is empty, and its write-ahead log is not")
		}
		return nil
	}
	if err := inspectHeaders(path); err != nil {
		return err
	}
	// A connection that may not write leaves the log as it is, also at its
	// end.
	s, err := openSession(ctx, fileDSN(path)+"&mode=ro", inspectPragmas)
	if err == nil {
		err = errors.Join(s.inspect(ctx, size), s.close())
	}
	if isDamage(err) {
		return damaged(err.Error())
	}
	return err
}

// makeFile makes the file for this user only, if there is none, and returns
// its size.
func makeFile(path string) (int64, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	return info.Size(), file.Close()
}

// inspectHeaders looks at the first bytes of the database and of its log.
// SQLite takes a log with a header that it does not know for an empty one, and
// would begin it anew.
func inspectHeaders(path string) error {
	header, err := firstBytes(path, 16)
	if err != nil {
		return err
	}
	if !bytes.Equal(header, []byte("SQLite format 3\x00")) {
		return damaged("it does not begin as a SQLite file does")
	}
	log, err := firstBytes(path+"-wal", 4)
	if errors.Is(err, os.ErrNotExist) || (err == nil && len(log) < 4) {
		return nil
	}
	if err != nil {
		return err
	}
	// 0 is a log that was made just before a power cut; it held nothing yet.
	if magic := binary.BigEndian.Uint32(log); magic != 0 && magic != 0x377f0682 && magic != 0x377f0683 {
		return damaged("its write-ahead log does not begin as one does")
	}
	return nil
}

func firstBytes(path string, n int) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, n)
	n, err = io.ReadFull(file, buffer)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return buffer[:n], errors.Join(err, file.Close())
}

// inspect reads what a healthy database must have.
func (s *session) inspect(ctx context.Context, size int64) error {
	var application, version, tables int
	for pragma, into := range map[string]*int{
		"PRAGMA application_id": &application, "PRAGMA user_version": &version, "SELECT count(*) FROM sqlite_schema": &tables,
	} {
		if err := s.conn.QueryRowContext(ctx, pragma).Scan(into); err != nil {
			return err
		}
	}
	texts, err := migrations()
	switch {
	case err != nil:
		return err
	case tables == 0:
		return nil
	case application != applicationID:
		return errors.New("it is the database of another program; choose another path")
	case version > len(texts):
		return fmt.Errorf("%w: its schema has version %d, and this program knows versions up to %d; run the newer program, or restore a backup from before it", ErrNewer, version, len(texts))
	case size > checkSize:
		return nil
	}
	var result string
	if err := s.conn.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return err
	}
	if result != "ok" {
		return damaged(result)
	}
	return nil
}

// damaged returns ErrCorrupt with what is wrong and what to do about it.
func damaged(what string) error {
	return fmt.Errorf("%w: %s; nothing was changed; move the file and the ones beside it (-wal, -shm) away and restore a backup", ErrCorrupt, what)
}
