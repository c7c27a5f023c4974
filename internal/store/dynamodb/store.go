package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/internal/store"
)

// Options say which tables to open.
type Options struct {
	// Project starts the tables' names.
	Project string
	// Names are those of tables that are called otherwise, by their name in
	// Tables.
	Names map[string]string
	// Region is the AWS region of the tables; empty is the environment's.
	Region string
	// EndpointURL is where DynamoDB answers; empty is AWS.
	EndpointURL string
	// Credentials are the environment's where nil. What stands in for DynamoDB
	// takes any, and where there are none it gets some.
	Credentials aws.CredentialsProvider
	// CreateTables makes tables that do not exist, as a stand-in for DynamoDB
	// needs. In an account infra/ makes them.
	CreateTables bool
	// Shards are those of a store that is new; zero is DefaultShards.
	Shards Shards
	// Manifests takes manifests that are too large for an item; nil refuses
	// them.
	Manifests Manifests
	// Transport carries the requests; nil is a pool of connections.
	Transport http.RoundTripper
	// Now is the time of stamps, and what the end of an item's life is held
	// against; nil is that of the host.
	Now func() time.Time
	// Log is told of what nobody asked for; nil is nowhere.
	Log *slog.Logger
}

// Store is a store.Store in tables of DynamoDB. It is safe for concurrent use,
// and so is any number of them on the same tables.
type Store struct {
	client    *dynamodb.Client
	names     map[string]*string
	now       func() time.Time
	stamps    *stamps
	logger    *slog.Logger
	manifests Manifests

	incarnation string
	shards      Shards

	log       *log
	classes   classes
	snapshots snapshots
	rooms     rooms
	// fences keeps a session from ending while this process writes under it.
	fences fences
	// turns has one change of a region follow the other.
	turns fences
}

var _ store.Store = (*Store)(nil)

// Open checks that the tables are there and are what the driver needs, and
// makes a new store of empty ones. It fails with one error that names every
// table that is missing or wrong, and what is not permitted.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = clock.RealClock{}.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Shards == (Shards{}) {
		o.Shards = DefaultShards
	}
	if !o.Shards.valid() {
		return nil, fmt.Errorf("opening the tables of %s: each number of shards must be 1 to %d", o.Project, maxShards)
	}
	client, err := newClient(ctx, o)
	if err != nil {
		return nil, err
	}
	process := strings.ReplaceAll(uuid.NewString(), "-", "")[:8]
	s := &Store{
		client: client, names: map[string]*string{}, now: o.Now, logger: o.Log, manifests: o.Manifests,
		stamps: &stamps{process: process, now: o.Now},
	}
	for _, table := range Tables {
		name := o.Project + "-" + table.Name
		if other := o.Names[table.Name]; other != "" {
			name = other
		}
		s.names[table.Name] = &name
	}
	s.log = newLog(s)
	s.snapshots.held = map[string]heldSnapshot{}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := s.checkTables(ctx, o.CreateTables); err != nil {
		return nil, fmt.Errorf("opening the tables of %s: %w", o.Project, err)
	}
	if err := s.identify(ctx, o.Shards); err != nil {
		return nil, fmt.Errorf("opening the tables of %s: %w", o.Project, err)
	}
	return s, nil
}

// name is how a table is called.
func (s *Store) name(table string) *string { return s.names[table] }

// layout is the version of the meaning of items.
const layout = 2

// meta is what a store knows of itself.
type meta struct {
	Incarnation string `json:"incarnation"`
	Layout      int    `json:"layout"`
	Shards      Shards `json:"shards"`
}

const skIdentity = "identity"

// identify reads the identity of the store, and gives a new one to empty
// tables.
func (s *Store) identify(ctx context.Context, shards Shards) error {
	for {
		found, err := s.get(ctx, TableState, at(pkMeta, skIdentity))
		if err == nil {
			return s.identified(found)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		fresh, err := identityItem(meta{Incarnation: uuid.NewString(), Layout: layout, Shards: shards})
		if err != nil {
			return err
		}
		if _, _, err := s.put(ctx, TableState, fresh, "attribute_not_exists(pk)", nil); err != nil {
			return err
		}
	}
}

func identityItem(m meta) (item, error) {
	text, err := packJSON(m)
	return with(at(pkMeta, skIdentity), item{attrMeta: text}), err
}

func (s *Store) identified(found item) error {
	var m meta
	if err := unpackJSON(found, attrMeta, &m); err != nil {
		return fmt.Errorf("the identity in table %s: %w", *s.name(TableState), err)
	}
	if m.Layout != layout || !m.Shards.valid() {
		return fmt.Errorf("table %s has the layout %d, and this version of the program knows %d; run the version that made it, or name another project", *s.name(TableState), m.Layout, layout)
	}
	s.incarnation, s.shards = m.Incarnation, m.Shards
	return nil
}

// Incarnation identifies this history of the data.
func (s *Store) Incarnation(context.Context) (string, error) { return s.incarnation, nil }

// Ping makes one durable write.
func (s *Store) Ping(ctx context.Context) error {
	_, _, err := s.put(ctx, TableState, at(pkMeta, "ping"), "", nil)
	return wrap(err, "writing to table %s", *s.name(TableState))
}

// Reincarnate makes restored data a history of their own.
func (s *Store) Reincarnate(ctx context.Context, now time.Time) (string, error) {
	regions, err := s.Regions(ctx)
	if err != nil {
		return "", wrap(err, "giving the tables a new incarnation")
	}
	for _, region := range regions {
		_, err := s.alter(ctx, alteration{region: region.Name, at: now, apply: func(r *regionRecord) (string, bool, error) {
			r.Session, r.Sequence, r.Inventoried = "", 0, false
			r.AwaitedSince = now.UTC()
			return "", true, nil
		}})
		if err != nil {
			return "", wrap(err, "ending the session of region %s", region.Name)
		}
	}
	incarnation := uuid.NewString()
	fresh, err := identityItem(meta{Incarnation: incarnation, Layout: layout, Shards: s.shards})
	if err != nil {
		return "", err
	}
	if _, _, err := s.put(ctx, TableState, fresh, "", nil); err != nil {
		return "", wrap(err, "giving the tables a new incarnation")
	}
	s.incarnation = incarnation
	return incarnation, nil
}

// Close does nothing: what was written is written.
func (s *Store) Close() error { return nil }

// mustText is JSON of a value that JSON can hold.
func mustText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("dynamodb: " + err.Error())
	}
	return string(text)
}

// fences has a lock for each region: a session is not ended in the middle of a
// write that was made under it, so that the log has the two in their order.
type fences struct{ locks sync.Map }

func (f *fences) of(region string) *sync.RWMutex {
	lock, _ := f.locks.LoadOrStore(region, &sync.RWMutex{})
	return lock.(*sync.RWMutex) //nolint:forcetypeassert // nothing else is stored
}
