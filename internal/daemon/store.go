package daemon

import (
	"cmp"
	"context"
	"path/filepath"

	"github.com/gco-project/gco/internal/backup"
	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/config"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/sqlite"
)

// openStore opens the bucket, the database that the configuration names, and
// what copies it.
func (c *ControlPlane) openStore(ctx context.Context, o ControlPlaneOptions) error {
	if o.Config.Store.Driver == config.DriverDynamoDB {
		return c.openDynamoDB(ctx, o)
	}
	embedded, err := sqlite.Open(ctx, sqlite.Options{
		Path: filepath.Join(o.Dir, backup.DatabaseFile), Log: o.Log, Checkpointed: replicated(o.Config.Backups),
	})
	if err != nil {
		return err
	}
	c.store, c.holder = embedded, singleHolder
	if err := c.openBucket(ctx, o); err != nil {
		return err
	}
	return c.openCopies(ctx, o, embedded)
}

// standInShards are enough for what stands in for DynamoDB on one machine: it
// has no partitions, and each shard is a request.
var standInShards = dynamodb.Shards{Index: 4, List: 4, Guard: 4, Tail: 4}

func (c *ControlPlane) openDynamoDB(ctx context.Context, o ControlPlaneOptions) error {
	if err := c.openBucket(ctx, o); err != nil {
		return err
	}
	s := o.Config.Store
	options := dynamodb.Options{
		Project: o.Config.Project, Region: cmp.Or(s.Region, o.Config.AWS.Region), EndpointURL: s.EndpointURL,
		Names: map[string]string{
			dynamodb.TableJobs: s.Tables.Jobs, dynamodb.TableTemplates: s.Tables.JobTemplates, dynamodb.TableWebhooks: s.Tables.Webhooks,
			dynamodb.TableEndpoints: s.Tables.InferenceEndpoints, dynamodb.TableState: s.Tables.State, dynamodb.TableEvents: s.Tables.Events,
		},
		Manifests: blob.NewContents(c.bucket, "manifests"), Now: o.Clock.Now, Log: o.Log,
	}
	if s.EndpointURL != "" {
		options.CreateTables, options.Shards = true, standInShards
	}
	opened, err := dynamodb.Open(ctx, options)
	if err != nil {
		return err
	}
	c.store = opened
	return c.openRecovery(ctx, o, options)
}
