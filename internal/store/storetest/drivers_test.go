package storetest_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/sqlite"
	"github.com/gco-project/gco/internal/store/storetest"
)

// drivers lists every driver there is. A new one is added here.
var drivers = []struct {
	name string
	open storetest.Opener
}{
	{"sqlite", openFile},
	{"sqlite-memory", openMemory},
}

// mustRun names the drivers that a run of all tests has to have held to the
// suite.
var mustRun = []string{"sqlite", "sqlite-memory"}

// recounts is how many random lives the property test takes a driver through,
// unless -rapid.checks says otherwise: each opens a database and reads all of
// it after every step.
const recounts = "30"

func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "rapid.checks" })
	if !chosen {
		if err := flag.Set("rapid.checks", recounts); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func TestDrivers(t *testing.T) {
	var ran []string
	for _, driver := range drivers {
		ok := t.Run(driver.name, func(t *testing.T) {
			storetest.Run(t, driver.open)
			ran = append(ran, driver.name)
		})
		if !ok {
			t.Errorf("driver %s does not keep the contract", driver.name)
		}
	}
	if filter := flag.Lookup("test.run").Value.String(); filter == "" && !slices.Equal(ran, mustRun) {
		t.Errorf("the suite ran for %v instead of %v", ran, mustRun)
	}
}

func openFile(t storetest.T) store.Store {
	t.Helper()
	dir, err := os.MkdirTemp("", "gco-store-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "gco.db"), Readers: 2})
	return opened(t, s, err)
}

func openMemory(t storetest.T) store.Store {
	t.Helper()
	s, err := sqlite.OpenMemory(t.Context())
	return opened(t, s, err)
}

func opened(t storetest.T, s *sqlite.Store, err error) store.Store {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
