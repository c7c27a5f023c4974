// Package main builds the container image of GCO without a container engine:
// the static binary, the certificates of public authorities, and nothing else.
// It writes an OCI layout and can push it to a registry. The same inputs give
// the same bytes. make image calls it.
package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is who the program runs as: nobody who is anybody else.
const user = 65532

// Binary is the program for one platform.
type Binary struct {
	Platform v1.Platform
	Path     string
}

// Build is what an image is made of.
type Build struct {
	Binaries []Binary
	Version  string
	// Created is the time that everything in the image carries.
	Created time.Time
}

// Index is the image, for each platform.
func (b Build) Index() (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, binary := range b.Binaries {
		image, err := b.image(binary)
		if err != nil {
			return nil, fmt.Errorf("building the image for %s: %w", binary.Platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &binary.Platform},
		})
	}
	return index, nil
}

func (b Build) image(binary Binary) (v1.Image, error) {
	// What changes seldom is a layer of its own, which a node keeps.
	var layers []v1.Layer
	for _, write := range []func(*archive) error{
		(*archive).system,
		func(a *archive) error { return a.program(binary.Path) },
	} {
		layer, err := b.layer(write)
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.AppendLayers(image, layers...)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = binary.Platform.OS, binary.Platform.Architecture, binary.Platform.Variant
	config.Created = v1.Time{Time: b.Created}
	for i := range config.History {
		config.History[i].Created = config.Created
	}
	config.Config = v1.Config{
		Entrypoint: []string{"/gco"}, User: fmt.Sprintf("%d:%d", user, user), WorkingDir: "/",
		Env: []string{"PATH=/", "HOME=/tmp", "SSL_CERT_FILE=" + certificates},
		Labels: map[string]string{
			"org.opencontainers.image.title": "gco", "org.opencontainers.image.version": b.Version,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return mutate.ConfigFile(image, config)
}

// layer makes one of what write puts into an archive.
func (b Build) layer(write func(*archive) error) (v1.Layer, error) {
	var text bytes.Buffer
	a := &archive{tar: tar.NewWriter(&text), created: b.Created}
	if err := write(a); err != nil {
		return nil, err
	}
	if err := a.tar.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(text.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompression(compression.GZip), tarball.WithCompressedCaching)
}

// certificates is where Go programs look for those of authorities.
const certificates = "/etc/ssl/certs/ca-certificates.crt"

// archive is a layer that is being written.
type archive struct {
	tar     *tar.Writer
	created time.Time
}

// system writes what the program expects of its host.
func (a *archive) system() error {
	for _, dir := range []string{"etc", "etc/ssl", "etc/ssl/certs"} {
		if err := a.dir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := a.dir("tmp", 0o1777); err != nil {
		return err
	}
	if err := a.file("etc/passwd", 0o644, fmt.Appendf(nil, "gco:x:%d:%d::/tmp:/gco\n", user, user)); err != nil {
		return err
	}
	return a.file(strings.TrimPrefix(certificates, "/"), 0o644, authorities())
}

// authorities are those that Mozilla trusts, whose trust needs no more
// conditions than a file can state.
func authorities() []byte {
	var text []byte
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})...)
		}
	}
	return text
}

func (a *archive) program(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return a.file("gco", 0o755, text)
}

func (a *archive) dir(name string, mode int64) error {
	return a.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeDir, Name: name + "/", Mode: mode, ModTime: a.created, Format: tar.FormatPAX,
	})
}

func (a *archive) file(name string, mode int64, text []byte) error {
	header := &tar.Header{
		Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(text)), ModTime: a.created, Format: tar.FormatPAX,
	}
	if err := a.tar.WriteHeader(header); err != nil {
		return err
	}
	_, err := a.tar.Write(text)
	return err
}
