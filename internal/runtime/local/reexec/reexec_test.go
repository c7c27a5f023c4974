package reexec

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What is linked in before the supervisor's main function is what each attempt
// waits for.
func TestSupervisorsImportLittle(t *testing.T) {
	output, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		if failed, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Log(string(failed.Stderr))
		}
		t.Fatal(err)
	}
	const own = "github.com/gco-project/gco/internal/runtime/local/"
	imports := strings.Fields(string(output))
	if !slices.Contains(imports, own+"supervise") {
		t.Errorf("%q: the list lacks what it must have", imports)
	}
	for _, path := range imports {
		if !strings.HasPrefix(path, own) && path != "golang.org/x/sys/unix" {
			t.Errorf("a supervisor is initialised after %s", path)
		}
	}
	heavy, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"net", "net/http", "regexp", "text/template"} {
		if slices.Contains(strings.Fields(string(heavy)), path) {
			t.Errorf("a supervisor is initialised after %s", path)
		}
	}
}
