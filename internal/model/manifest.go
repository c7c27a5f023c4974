package model

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a manifest.
const (
	// MaxChunk is how many bytes a chunk has at most.
	MaxChunk = 8 << 20
	// MaxChunks and MaxFiles bound one version: about a terabyte.
	MaxChunks = 500_000
	MaxFiles  = 100_000
	// MaxManifest is how many bytes a manifest has at most, as JSON.
	MaxManifest = 64 << 20
	// maxPath is what every file system takes, as a path and as one of its
	// parts.
	maxPath = 1024
	maxPart = 255
)

// Manifest lists all that a version holds. It never changes.
type Manifest struct {
	// Files are sorted by their path.
	Files []File `json:"files"`
}

// File is one file of a version.
type File struct {
	// Path is relative to the model's directory, with slashes.
	Path string `json:"path"`
	// Size is in bytes.
	Size int64 `json:"size"`
	// SHA256 is that of the whole file, in hex.
	SHA256 string `json:"sha256"`
	// Chunks are the file's content, in order; an empty file has none.
	Chunks []Chunk `json:"chunks"`
}

// Chunk is a part of a file, known by its content.
type Chunk struct {
	// SHA256 is in hex.
	SHA256 string `json:"sha256"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// Fault is one thing that is wrong with a manifest.
type Fault struct {
	// Field is a path such as files[3].path.
	Field   string
	Message string
}

// Invalid lists what is wrong with a manifest, up to a bound.
type Invalid struct{ Faults []Fault }

// Error names the first fault and counts the others.
func (e *Invalid) Error() string {
	text := fmt.Sprintf("%s: %s", e.Faults[0].Field, e.Faults[0].Message)
	if more := len(e.Faults) - 1; more > 0 {
		text += fmt.Sprintf(" (and %d more)", more)
	}
	return text
}

// maxFaults bounds what is listed of a manifest that is all wrong.
const maxFaults = 100

var sumRule = regexp.MustCompile(`^[0-9a-f]{64}$`)

// ValidSum tells whether text is a SHA-256 in hex, in lower case.
func ValidSum(text string) bool { return sumRule.MatchString(text) }

// Validate returns the faults of a manifest.
func (m Manifest) Validate() []Fault {
	v := &validation{sizes: map[string]int64{}}
	v.add(len(m.Files) > 0, "files", "is empty; a model has at least one file")
	v.add(len(m.Files) <= MaxFiles, "files", "has %d files; at most %d are allowed", len(m.Files), MaxFiles)
	for i, f := range m.Files {
		if len(v.faults) >= maxFaults || i >= MaxFiles {
			break
		}
		v.file(fmt.Sprintf("files[%d]", i), f)
		if i > 0 {
			v.order(fmt.Sprintf("files[%d].path", i), m.Files[i-1].Path, f.Path)
		}
	}
	v.add(v.chunks <= MaxChunks, "files", "have %d chunks; at most %d are allowed", v.chunks, MaxChunks)
	v.folders(m.Files)
	return v.faults
}

type validation struct {
	faults []Fault
	chunks int
	// sizes holds what each chunk was said to have.
	sizes map[string]int64
}

func (v *validation) add(ok bool, field, format string, args ...any) {
	if !ok {
		v.faults = append(v.faults, Fault{field, fmt.Sprintf(format, args...)})
	}
}

func (v *validation) order(field, before, path string) {
	v.add(before != path, field, "%q is listed twice", path)
	v.add(before <= path, field, "files must be sorted by their path")
}

func (v *validation) file(at string, f File) {
	if err := checkPath(f.Path); err != nil {
		v.add(false, at+".path", "%s", err)
	}
	v.add(ValidSum(f.SHA256), at+".sha256", "%.80q is no SHA-256 in hex", f.SHA256)
	var sum int64
	for i, c := range f.Chunks {
		if len(v.faults) >= maxFaults {
			return
		}
		at := fmt.Sprintf("%s.chunks[%d]", at, i)
		v.add(ValidSum(c.SHA256), at+".sha256", "%.80q is no SHA-256 in hex", c.SHA256)
		v.add(c.Size >= 1 && c.Size <= MaxChunk, at+".size", "%d is outside 1 to %d", c.Size, MaxChunk)
		size, seen := v.sizes[c.SHA256]
		v.add(!seen || size == c.Size, at+".size", "is %d here and %d in another place of the same chunk", c.Size, size)
		v.sizes[c.SHA256] = c.Size
		sum += min(max(c.Size, 0), MaxChunk)
	}
	v.chunks += len(f.Chunks)
	v.add(sum == f.Size, at+".size", "is %d, and its chunks have %d bytes", f.Size, sum)
}

// folders refuses a file that would have to be a folder, too.
func (v *validation) folders(files []File) {
	names := make(map[string]bool, len(files))
	for _, f := range files {
		names[f.Path] = true
	}
	for i, f := range files {
		for dir := path.Dir(f.Path); len(v.faults) < maxFaults && dir != "." && dir != "/"; dir = path.Dir(dir) {
			v.add(!names[dir], fmt.Sprintf("files[%d].path", i), "%.80q is a file, too", dir)
		}
	}
}

// checkPath admits what stays below a directory on every system.
func checkPath(name string) error {
	switch {
	case name == "" || len(name) > maxPath:
		return fmt.Errorf("has %d bytes; 1 to %d are allowed", len(name), maxPath)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.Contains(name, `\`):
		return fmt.Errorf("%.80q has characters that not every system takes", name)
	case path.IsAbs(name) || path.Clean(name) != name || name == "." || name == ".." || strings.HasPrefix(name, "../"):
		return fmt.Errorf("%.80q is no path below a directory", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > maxPart {
			return fmt.Errorf("has a part of %d bytes; at most %d are allowed", len(part), maxPart)
		}
	}
	return nil
}

// Bytes is the size of all files.
func (m Manifest) Bytes() int64 {
	var sum int64
	for _, f := range m.Files {
		sum += f.Size
	}
	return sum
}

// Distinct yields each chunk once, in the order in which they come first.
func (m Manifest) Distinct() iter.Seq[Chunk] {
	return func(yield func(Chunk) bool) {
		seen := map[string]bool{}
		for _, f := range m.Files {
			for _, c := range f.Chunks {
				if seen[c.SHA256] {
					continue
				}
				seen[c.SHA256] = true
				if !yield(c) {
					return
				}
			}
		}
	}
}

// Encode is the one form in which a manifest is stored: the same files always
// have the same bytes, and so the same digest.
func (m Manifest) Encode() ([]byte, error) {
	m.Files = slices.Clone(m.Files)
	for i := range m.Files {
		if m.Files[i].Chunks == nil {
			m.Files[i].Chunks = []Chunk{}
		}
	}
	return json.Marshal(m)
}

// Decode reads a manifest and checks it; the error may be *Invalid.
func Decode(text []byte) (Manifest, error) {
	var m Manifest
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&m); err != nil {
		return Manifest{}, fmt.Errorf("reading a model's manifest: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Manifest{}, errors.New("reading a model's manifest: there is something behind it")
	}
	if faults := m.Validate(); len(faults) > 0 {
		return Manifest{}, fmt.Errorf("reading a model's manifest: %w", &Invalid{faults})
	}
	return m, nil
}

// Digest is the SHA-256 of an encoded manifest, in hex.
func Digest(encoded []byte) string {
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}
