package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// maxFile bounds what is read of one file; the server takes 1 MiB a job.
const maxFile = 64 << 20

// document is one manifest of a file.
type document struct {
	// name says where it stands, for messages.
	name string
	text []byte
}

// documents reads files ("-" is in) and splits those that hold several YAML
// documents. Documents without content are left out; a file without any is an
// error.
func documents(in io.Reader, files []string) ([]document, error) {
	var all []document
	for _, file := range files {
		text, err := readFile(in, file)
		if err != nil {
			return nil, err
		}
		found, err := split(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", nameOf(file), err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s holds no manifest: a Kubernetes Job (apiVersion batch/v1) as YAML or JSON expected", nameOf(file))
		}
		for i, text := range found {
			name := nameOf(file)
			if len(found) > 1 {
				name = fmt.Sprintf("%s (document %d)", name, i+1)
			}
			all = append(all, document{name, text})
		}
	}
	return all, nil
}

func nameOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

func readFile(in io.Reader, file string) ([]byte, error) {
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("reading the manifest: %w", err)
		}
		defer opened.Close()
		in = opened
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", nameOf(file), err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("%s is over %d MiB", nameOf(file), maxFile>>20)
	}
	return text, nil
}

// split cuts text at its document separators.
func split(text []byte) ([][]byte, error) {
	var found [][]byte
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		one, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		if hasContent(one) {
			found = append(found, one)
		}
	}
}

// hasContent tells whether a line is neither blank nor a comment nor a
// separator.
func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.Equal(line, []byte("---")) {
			return true
		}
	}
	return false
}
