package storetest_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
	"github.com/gco-project/gco/internal/store/sqlite"
	"github.com/gco-project/gco/internal/store/storetest"
)

// drivers lists every driver there is, DynamoDB on each engine that stands in
// for it. A new one is added here.
var drivers = []struct {
	name string
	open storetest.Opener
	// lives is how many random lives a property test takes the driver through,
	// unless -rapid.checks says otherwise: each opens a database and reads all
	// of it after every step. These are for -race; make test-stores takes more.
	lives string
}{
	{"sqlite", openFile, "5"},
	{"sqlite-memory", openMemory, "3"},
	{"dynamodb on dynoxide", openDynamoDB(dynamotest.Dynoxide), "2"},
	{"dynamodb on dynamodb-local", openDynamoDB(dynamotest.Local), "1"},
}

// mustRun names the drivers that a run of all tests has to have held to the
// suite.
var mustRun = []string{"sqlite", "sqlite-memory", "dynamodb on dynoxide", "dynamodb on dynamodb-local"}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(dynamotest.Main(m.Run))
}

// limitLives bounds what a driver's property tests do.
func limitLives(t *testing.T, lives string) {
	t.Helper()
	if err := flag.Set("rapid.checks", lives); err != nil {
		t.Fatal(err)
	}
}

func TestDrivers(t *testing.T) {
	var ran []string
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "rapid.checks" })
	for _, driver := range drivers {
		if !chosen {
			limitLives(t, driver.lives)
		}
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

func openDynamoDB(name dynamotest.Name) storetest.Opener {
	return func(t storetest.T) store.Store {
		t.Helper()
		s, err := dynamodb.Open(t.Context(), dynamotest.Start(t, name).Options())
		if err != nil {
			t.Fatal(err)
		}
		return s
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
