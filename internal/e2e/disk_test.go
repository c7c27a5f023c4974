package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/gco-project/gco/client"
)

// TestFullDisk fills the disk under a running server: submissions get a 503
// and nothing of them is stored, reads go on, and when there is space again
// so do submissions. The disk is a file system in memory, in a mount namespace
// that needs no privileges.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	c := &roles{dir: dir}
	c.process = launchCommand(t, dir, exec.Command("unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=16m tmpfs "$1" && exec "$2" server --dir "$1/data" --listen 127.0.0.1:0`, "sh", dir, gco))
	// exec keeps the process ID, so this is the server's view of the disk.
	disk := filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid), "root", dir)
	c.connect(filepath.Join(disk, "data"), client.WithAttempts(1))
	accepted := map[string]bool{}
	submit := func(n int) error {
		job, _, err := c.client.Submit(t.Context(), script("work", "true"), fmt.Sprintf("key-%d", n))
		if err == nil {
			accepted[job.ID] = true
		}
		return err
	}
	if err := submit(0); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(disk, "filler"))
	refused := 0
	for n := 1; n <= 2000 && refused < 20; n++ {
		switch err := submit(n); {
		case err == nil:
		case client.Status(err) == http.StatusServiceUnavailable:
			refused++
		default:
			t.Fatalf("submission %d on a full disk: %v, want a 503", n, err)
		}
	}
	if refused < 20 {
		t.Fatal("2,000 jobs fit on a full disk")
	}
	page, err := c.client.Jobs(t.Context(), client.JobFilter{Limit: 1})
	if err != nil || len(page.Items) != 1 {
		t.Errorf("a list on a full disk: %d jobs, %v", len(page.Items), err)
	}
	if err := os.Remove(filepath.Join(disk, "filler")); err != nil {
		t.Fatal(err)
	}
	if err := submit(100_000); err != nil {
		t.Errorf("a submission when there is space again: %v", err)
	}
	stored := 0
	for job, err := range c.client.AllJobs(t.Context(), client.JobFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if !accepted[job.ID] {
			t.Errorf("job %s was refused and is stored", job.ID)
		}
		stored++
	}
	if stored != len(accepted) {
		t.Errorf("%d jobs were accepted, %d are stored", len(accepted), stored)
	}
	t.Logf("%d accepted, %d refused, %d stored", len(accepted), refused, stored)
}

// fill writes to a file until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for size := 1 << 20; size > 0; size /= 4 {
		for err = nil; err == nil; {
			_, err = file.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
}
