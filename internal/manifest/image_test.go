package manifest

import (
	"strings"
	"testing"
)

const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestParseImage(t *testing.T) {
	for image, want := range map[string]string{
		"busybox":                              "docker.io/library/busybox",
		"busybox:1.36":                         "docker.io/library/busybox",
		"busybox" + digest:                     "docker.io/library/busybox",
		"busybox:1.36" + digest:                "docker.io/library/busybox",
		"team/app":                             "docker.io/team/app",
		"team/group/app:v1":                    "docker.io/team/group/app",
		"docker.io/busybox":                    "docker.io/library/busybox",
		"index.docker.io/library/busybox":      "docker.io/library/busybox",
		"Docker.IO/busybox":                    "docker.io/library/busybox",
		"ghcr.io/team/app:v1":                  "ghcr.io/team/app",
		"registry.example.com:5000/app:v1":     "registry.example.com:5000/app",
		"registry.example.com:5000/app":        "registry.example.com:5000/app",
		"localhost/app":                        "localhost/app",
		"localhost:5000/app" + digest:          "localhost:5000/app",
		"10.0.0.1:5000/app":                    "10.0.0.1:5000/app",
		"[::1]:5000/app":                       "[::1]:5000/app",
		"[fe80::1]/app":                        "[fe80::1]/app",
		"a/b_c/d__e/f-g/h--i/j.k":              "docker.io/a/b_c/d__e/f-g/h--i/j.k",
		"app:" + strings.Repeat("x", 128):      "docker.io/library/app",
		"quay.io/a/b:UPPER.case-tag_1":         "quay.io/a/b",
		"docker.io.evil.example.com/library/x": "docker.io.evil.example.com/library/x",
		// A name with a colon before the slash is a host with a port, not a tag.
		"busybox:80/x": "busybox:80/x",
		// Upper case cannot be a part of a path, so it is a host.
		"EVIL/x": "evil/x",
	} {
		r, ok := parseImage(image)
		if got := r.host + "/" + r.path; !ok || got != want {
			t.Errorf("%s is %s (%t), want %s", image, got, ok, want)
		}
	}
	for _, image := range []string{
		"", " ", "busybox ", " busybox", "busy box", "busybox\n", "Busybox", "a//b", "/a", "a/", "a/../b", "a/./b", "..", ".", "-a", "a-", "a___b", "a._b", "a..b",
		"a:", "a:b:c", "a:-b", "a:.b", "a:" + strings.Repeat("x", 129), "a@", "a@sha256:", "a@sha256:abc", "a@:" + strings.Repeat("a", 32), "a@sha256:" + strings.Repeat("g", 32),
		"a" + digest + digest, "https://docker.io/a", "docker.io:/a", "docker.io:x/a", "docker.io:123456/a", "[::1/a", "[::1]x/a", "[]/a", "[::1]:/a", "docker.io/", "docker.io/A",
		"user@docker.io/a", "docker.io%2fa", "docker.io\\a", "é", "docker..io/a", "-docker.io/a",
	} {
		if r, ok := parseImage(image); ok {
			t.Errorf("%q is taken for %v", image, r)
		}
	}
}

func TestRegistryCovers(t *testing.T) {
	for _, c := range []struct {
		entry, image string
		want         bool
	}{
		{"docker.io", "busybox", true},
		{"docker.io", "team/app:1", true},
		{"docker.io", "docker.io.evil.example.com/app", false},
		{"docker.io", "evil.example.com/docker.io/app", false},
		{"docker.io", "docker.io:443/library/busybox", false},
		{"Docker.io", "busybox", true},
		{"index.docker.io", "busybox", true},
		{"docker.io/library", "busybox", true},
		{"docker.io/library", "library/busybox", true},
		{"docker.io/library", "team/app", false},
		{"docker.io/gco", "gco/app", true},
		{"docker.io/gco", "gco-malicious/app", false},
		{"docker.io/gco", "docker.io/gco", false}, // the path is library/gco
		{"ghcr.io/team/app", "ghcr.io/team/app:v1", true},
		{"ghcr.io/team/app", "ghcr.io/team/app/tool" + digest, true},
		{"ghcr.io/team/app", "ghcr.io/team/application", false},
		{"ghcr.io/team/app", "ghcr.io/team", false},
		{"registry.example.com", "registry.example.com:5000/app", false},
		{"registry.example.com:5000", "registry.example.com:5000/app", true},
		{"registry.example.com:5000", "registry.example.com/app", false},
		{"example.com", "registry.example.com/app", false},
		{"localhost:5000", "localhost:5000/app", true},
	} {
		entry, ok := parseRegistry(c.entry)
		if !ok {
			t.Errorf("%s is no registry", c.entry)
			continue
		}
		image, ok := parseImage(c.image)
		if !ok {
			t.Errorf("%s is no image", c.image)
		}
		if got := entry.covers(image); got != c.want {
			t.Errorf("%s covers %s: %t", c.entry, c.image, got)
		}
	}
	for _, entry := range []string{"", "library", "library/busybox", "https://docker.io", "docker.io/", "docker.io//a", "docker.io/a/", "docker.io/A", "docker.io/a:1", "*.docker.io", "docker.io/*", " docker.io", "docker.io:"} {
		if r, ok := parseRegistry(entry); ok {
			t.Errorf("%q is taken for %v", entry, r)
		}
	}
}

func FuzzParseImage(f *testing.F) {
	for _, seed := range []string{"busybox", "a/b:c", "docker.io/a", "localhost:5000/a" + digest, "[::1]:80/a", "a@b", "A/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, image string) {
		r, ok := parseImage(image)
		if !ok {
			return
		}
		// What was understood means the same when it is spelled out.
		again, ok := parseImage(r.host + "/" + r.path)
		if !ok || looksLikeHost(r.host) && again != r {
			t.Errorf("%q is %v, spelled out %v (%t)", image, r, again, ok)
		}
		if strings.Contains(r.path, "..") || strings.ContainsAny(r.path, "@: \n\\%") {
			t.Errorf("%q has the path %q", image, r.path)
		}
	})
}
