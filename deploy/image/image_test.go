package main

import (
	"archive/tar"
	"crypto/x509"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// program writes a file that stands for the binary of a platform.
func program(t *testing.T, says string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gco")
	if err := os.WriteFile(path, []byte(says), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// built runs the tool and returns the layout's index.
func built(t *testing.T, dir string, more ...string) v1.ImageIndex {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	args := append([]string{
		"-binary", "linux/amd64=" + program(t, "for amd64"), "-binary", "linux/arm64=" + program(t, "for arm64"),
		"-version", "v1.2.3", "-out", dir,
	}, more...)
	if err := run(args, io.Discard); err != nil {
		t.Fatal(err)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func digest(t *testing.T, of interface{ Digest() (v1.Hash, error) }) v1.Hash {
	t.Helper()
	hash, err := of.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// images returns those of an index, by architecture.
func images(t *testing.T, index v1.ImageIndex) map[string]v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	byArchitecture := map[string]v1.Image{}
	for _, descriptor := range manifest.Manifests {
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		byArchitecture[descriptor.Platform.Architecture] = image
	}
	return byArchitecture
}

// files reads what a container of the image would see.
func files(t *testing.T, image v1.Image) (contents map[string]string, headers map[string]*tar.Header) {
	t.Helper()
	contents, headers = map[string]string{}, map[string]*tar.Header{}
	flat := mutate.Extract(image)
	defer flat.Close()
	for reader := tar.NewReader(flat); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return contents, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		contents[header.Name], headers[header.Name] = string(text), header
	}
}

func TestTheLayoutIsValidForEachPlatform(t *testing.T) {
	index := built(t, t.TempDir())
	if err := validate.Index(index); err != nil {
		t.Fatal(err)
	}
	all := images(t, index)
	if len(all) != 2 {
		t.Fatalf("%d platforms", len(all))
	}
	for architecture, image := range all {
		contents, headers := files(t, image)
		if got := contents["gco"]; got != "for "+architecture {
			t.Errorf("the program for %s is %q", architecture, got)
		}
		if mode := headers["gco"].FileInfo().Mode(); mode != 0o755 {
			t.Errorf("the program's mode is %s", mode)
		}
		if mode := headers["tmp"].FileInfo().Mode(); mode&os.ModeSticky == 0 {
			t.Errorf("the mode of /tmp is %s", mode)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != architecture || config.OS != "linux" {
			t.Errorf("its config says %s/%s, not linux/%s", config.OS, config.Architecture, architecture)
		}
		if config.Config.User != "65532:65532" || strings.Join(config.Config.Entrypoint, " ") != "/gco" {
			t.Errorf("it runs %q as %q", config.Config.Entrypoint, config.Config.User)
		}
		if got := config.Config.Labels["org.opencontainers.image.version"]; got != "v1.2.3" {
			t.Errorf("its version is %q", got)
		}
		if want := time.Unix(1700000000, 0); !config.Created.Equal(want) || !headers["gco"].ModTime.Equal(want) {
			t.Errorf("it was made at %s, its program at %s", config.Created, headers["gco"].ModTime)
		}
	}
}

func TestAuthoritiesAreThere(t *testing.T) {
	contents, _ := files(t, images(t, built(t, t.TempDir()))["amd64"])
	if !x509.NewCertPool().AppendCertsFromPEM([]byte(contents["etc/ssl/certs/ca-certificates.crt"])) {
		t.Error("there are no certificates of authorities in it")
	}
	if n := strings.Count(contents["etc/ssl/certs/ca-certificates.crt"], "BEGIN CERTIFICATE"); n < 50 {
		t.Errorf("%d certificates of authorities", n)
	}
}

func TestTheSameInputsGiveTheSameBytes(t *testing.T) {
	first, second := built(t, t.TempDir()), built(t, t.TempDir())
	if digest(t, first) != digest(t, second) {
		t.Error("two builds differ")
	}
}

func TestALayoutIsReplaced(t *testing.T) {
	dir := t.TempDir()
	built(t, dir)
	manifest, err := built(t, dir).IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 {
		t.Errorf("%d manifests after a second build", len(manifest.Manifests))
	}
}

func TestTheImageIsPushed(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	reference := strings.TrimPrefix(server.URL, "http://") + "/gco:v1.2.3"
	local := built(t, t.TempDir(), "-push", reference)
	ref, err := name.ParseReference(reference)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(pulled); err != nil {
		t.Fatal(err)
	}
	if digest(t, pulled) != digest(t, local) {
		t.Error("what was pushed differs from the layout")
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"nothing", nil, "-binary and -out are needed"},
		{"no file", []string{"-binary", "linux/amd64", "-out", "x"}, "want a platform and a file"},
		{"a file that is not there", []string{"-binary", "linux/amd64=/nowhere/gco", "-out", t.TempDir()}, "/nowhere/gco"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := run(test.args, io.Discard); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v does not say %q", err, test.want)
			}
		})
	}
}
