package daemon

import (
	"context"
	"path/filepath"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/model/registry"
)

// openModels opens the model registry: in the place that the configuration
// names, else in the bucket for objects, else below the directory.
func (c *ControlPlane) openModels(ctx context.Context, o ControlPlaneOptions) (err error) {
	bucket := c.bucket
	switch {
	case o.Config.Server.Models != "":
		if c.modelBucket, err = blob.Open(ctx, o.Config.Server.Models); err != nil {
			return err
		}
		if err := c.modelBucket.Check(ctx); err != nil {
			return err
		}
		bucket = c.modelBucket
	case o.Config.Server.Bucket == "":
		if c.modelBucket, err = blob.OpenDir(filepath.Join(o.Dir, "models")); err != nil {
			return err
		}
		bucket = c.modelBucket
	}
	c.models = registry.New(registry.Options{Bucket: bucket, Clock: o.Clock, Log: o.Log})
	return nil
}
