package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1) //nolint:forbidigo // main itself
	}
}

func run(args []string, said io.Writer) error {
	build := Build{}
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	flags.Func("binary", "`OS/ARCH=FILE`, the program for a platform; may be repeated", func(text string) error {
		platform, path, found := strings.Cut(text, "=")
		if !found {
			return errors.New("want a platform and a file, such as linux/amd64=bin/gco")
		}
		parsed, err := v1.ParsePlatform(platform)
		if err != nil {
			return err
		}
		build.Binaries = append(build.Binaries, Binary{Platform: *parsed, Path: path})
		return nil
	})
	flags.StringVar(&build.Version, "version", "unknown", "`VERSION` of the program")
	out := flags.String("out", "", "`DIRECTORY` that receives the OCI layout; what is there is replaced")
	push := flags.String("push", "", "`REFERENCE` in a registry that the image is pushed to, too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if len(build.Binaries) == 0 || *out == "" {
		return errors.New("-binary and -out are needed")
	}
	var err error
	if build.Created, err = created(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	index, err := build.Index()
	if err != nil {
		return err
	}
	if err := write(*out, index); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	fmt.Fprintf(said, "%s@%s\n", *out, digest)
	if *push == "" {
		return nil
	}
	return publish(*push, index, said)
}

// created is the time that the image carries: seconds since 1970, or their
// beginning.
func created(epoch string) (time.Time, error) {
	if epoch == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", epoch)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// write writes the layout and reads it again: what is wrong with it is said
// here rather than by a node that pulls it.
func write(dir string, index v1.ImageIndex) error {
	for _, old := range []string{"blobs", "index.json", "oci-layout"} {
		if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
			return fmt.Errorf("removing an earlier layout: %w", err)
		}
	}
	if _, err := layout.Write(dir, index); err != nil {
		return fmt.Errorf("writing the layout: %w", err)
	}
	written, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return fmt.Errorf("reading the layout: %w", err)
	}
	if err := validate.Index(written); err != nil {
		return fmt.Errorf("the layout in %s is not valid: %w", dir, err)
	}
	return nil
}

// publish pushes the image with the credentials of docker login.
func publish(reference string, index v1.ImageIndex, said io.Writer) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return fmt.Errorf("-push: %w", err)
	}
	if err := remote.WriteIndex(ref, index, remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing to %s: %w", ref, err)
	}
	fmt.Fprintln(said, ref)
	return nil
}
