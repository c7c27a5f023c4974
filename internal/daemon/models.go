package daemon

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/cache"
	"github.com/gco-project/gco/internal/model/registry"
	modelremote "github.com/gco-project/gco/internal/model/remote"
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

// openCache opens the models that a region has.
func openCache(o RegionOptions) (*cache.Cache, error) {
	return cache.Open(cache.Options{
		Dir: o.modelDir, Registry: regionModels{modelremote.Registry{Client: o.Client}}, Clock: o.Clock, Log: o.Log,
	})
}

// regionModels is the model registry as a region sees it, over HTTP.
type regionModels struct{ modelremote.Registry }

func (r regionModels) Manifest(ctx context.Context, ref model.Ref) (model.Ref, model.Manifest, error) {
	v, err := r.Resolve(ctx, ref)
	var m model.Manifest
	if err == nil {
		m, err = r.Registry.Manifest(ctx, v)
	}
	if modelremote.IsGone(err) {
		err = fmt.Errorf("%w: %w", cache.ErrGone, err)
	}
	return model.Ref{Name: v.Name, Version: v.Version}, m, err
}
