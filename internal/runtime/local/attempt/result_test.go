package attempt

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestLoadResult(t *testing.T) {
	left := map[string]func(path string) error{
		"":  func(string) error { return nil },
		"a": func(path string) error { return os.WriteFile(path, []byte("a"), 0o600) },
		strings.Repeat("x", maxResult+1): func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("x", 1<<20)), 0o600)
		},
		"a\ufffdb": func(path string) error { return os.WriteFile(path, []byte("a\xffb"), 0o600) },
	}
	for want, leave := range left {
		dir := Dir(t.TempDir())
		if err := leave(dir.Result()); err != nil {
			t.Fatal(err)
		}
		if got := LoadResult(dir); got != want {
			t.Errorf("%.20q instead of %.20q", got, want)
		}
	}
}

// TestLoadResultOfNoFile: a job cannot make its supervisor wait, or read for
// it what is elsewhere.
func TestLoadResultOfNoFile(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, leave := range map[string]func(path string) error{
		"FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"link":      func(path string) error { return os.Symlink(secret, path) },
		"device":    func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		dir := Dir(t.TempDir())
		if err := leave(dir.Result()); err != nil {
			t.Fatal(err)
		}
		if got := LoadResult(dir); got != "" {
			t.Errorf("%s: %.20q", name, got)
		}
	}
}
