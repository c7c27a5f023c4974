package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/registry"
	"github.com/gco-project/gco/internal/queue"
)

// Models is what the server needs of a *registry.Registry.
type Models interface {
	Models(ctx context.Context) ([]registry.Model, error)
	Model(ctx context.Context, name string) (registry.Model, error)
	Resolve(ctx context.Context, ref model.Ref) (registry.Version, error)
	Manifest(ctx context.Context, v registry.Version) ([]byte, error)
	Chunk(ctx context.Context, sum string) (io.ReadCloser, error)
	Tag(ctx context.Context, v registry.Version, tag, by string) error
	Untag(ctx context.Context, name, tag string) error
	Delete(ctx context.Context, name string) error
	DeleteVersion(ctx context.Context, name string, version int64) error
	Verify(ctx context.Context, v registry.Version) (registry.Verification, error)
	Collect(ctx context.Context) (registry.Collection, error)

	Begin(ctx context.Context, name, by string) (string, error)
	Missing(ctx context.Context, id string, chunks []model.Chunk) ([]string, error)
	Put(ctx context.Context, id, sum string, content io.Reader) error
	Commit(ctx context.Context, id string, m model.Manifest, by string) (registry.Version, bool, error)
	Abort(ctx context.Context, id string) error
}

var _ Models = (*registry.Registry)(nil)

// ModelFinder is how a queue finds the models that jobs name.
func ModelFinder(models Models) func(context.Context, model.Ref) (model.Ref, error) {
	return func(ctx context.Context, ref model.Ref) (model.Ref, error) {
		v, err := models.Resolve(ctx, ref)
		if errors.Is(err, registry.ErrNotFound) {
			return ref, queue.ErrNoModel
		}
		return v.Ref(), err
	}
}

// maxAsked is how many chunks one question may be about.
const maxAsked = 1000

var (
	newUploadShape     = shapeOf[api.NewModelUpload]()
	modelChunksShape   = shapeOf[api.ModelChunks]()
	modelManifestShape = shapeOf[api.ModelManifest]()
	modelTagShape      = shapeOf[api.ModelTag]()
)

// modelProblem answers what the registry says.
func modelProblem(err error) error {
	if err == nil {
		return nil
	}
	if incomplete, ok := errors.AsType[*registry.Incomplete](err); ok {
		return newProblem(api.ProblemConflict, "%d chunk(s) of it have not been sent, the first one %s; push again", len(incomplete.Missing), incomplete.Missing[0])
	}
	if tagged, ok := errors.AsType[*registry.Tagged](err); ok {
		return newProblem(api.ProblemConflict, "%s; let the tag name another version, or remove it first", tagged.Error())
	}
	switch {
	case errors.Is(err, registry.ErrNoUpload):
		return newProblem(api.ProblemNotFound, "there is no such upload: it has ended, or nothing was heard of it for long; push again, and what has arrived is not sent again")
	case errors.Is(err, registry.ErrNotFound):
		return newProblem(api.ProblemNotFound, "there is no such model, version, tag or chunk")
	case errors.Is(err, registry.ErrBusy):
		return newProblem(api.ProblemConflict, "chunks are being collected already")
	}
	p := newProblem(api.ProblemUnavailable, "the bucket of the model registry cannot be used now; the server's log has the reason").with("Retry-After", "2")
	p.cause = err
	return p
}

// mayEditModels refuses tokens with a limit to namespaces: names are global.
func (c *call) mayEditModels() error {
	if len(c.who.namespaces) > 0 {
		return newProblem(api.ProblemForbidden, "models are shared by all namespaces, and this token is only for %s; an admin, or a submitter of all namespaces, may change them",
			strings.Join(c.who.namespaces, ", "))
	}
	return nil
}

// modelVersion reads the version in the path: a number, a tag, or latest.
func (c *call) modelVersion() (registry.Version, error) {
	ref, err := model.ParseRef(c.r.PathValue("name") + "@" + c.r.PathValue("version"))
	if err != nil {
		return registry.Version{}, newProblem(api.ProblemNotFound, "%s", err)
	}
	v, err := c.models.Resolve(c.r.Context(), ref)
	if errors.Is(err, registry.ErrNotFound) {
		return v, newProblem(api.ProblemNotFound, "there is no %s in the model registry", ref)
	}
	return v, modelProblem(err)
}

// exactModel finds the version that a reference names now. One that names
// nothing yet stays as it is: the model may be pushed later.
func (c *call) exactModel(text string) (string, error) {
	if text == "" || c.models == nil {
		return text, nil
	}
	ref, err := model.ParseRef(text)
	if err != nil || ref.Exact() {
		return text, nil //nolint:nilerr // the spec's own check says what is wrong with it
	}
	v, err := c.models.Resolve(c.r.Context(), ref)
	if errors.Is(err, registry.ErrNotFound) {
		return text, nil
	}
	return v.Ref().String(), modelProblem(err)
}

// presence lists the regions that have a version, by version.
func (c *call) presence() (map[string][]string, error) {
	regions, err := c.store.Regions(c.r.Context())
	if err != nil {
		return nil, fmt.Errorf("listing regions: %w", err)
	}
	where := map[string][]string{}
	for _, region := range regions {
		for _, ref := range region.Snapshot.Models {
			where[ref] = append(where[ref], region.Name)
		}
	}
	return where, nil
}

func modelVersionOnWire(v registry.Version, where map[string][]string) api.ModelVersion {
	return api.ModelVersion{
		Name: v.Name, Version: v.Version, Digest: v.Digest, Files: v.Files, Chunks: v.Chunks, Bytes: v.Bytes,
		CreatedAt: v.CreatedAt.UTC(), CreatedBy: v.CreatedBy, Regions: where[v.Ref().String()],
	}
}

func modelOnWire(m registry.Model, where map[string][]string) api.Model {
	out := api.Model{Name: m.Name, Versions: []api.ModelVersion{}, Tags: maps.Clone(m.Tags)}
	for _, v := range m.Versions {
		out.Versions = append(out.Versions, modelVersionOnWire(v, where))
	}
	return out
}

func (c *call) listModels() error {
	models, err := c.models.Models(c.r.Context())
	if err != nil {
		return modelProblem(err)
	}
	where, err := c.presence()
	if err != nil {
		return err
	}
	list := api.ModelList{Items: []api.Model{}}
	for _, m := range models {
		list.Items = append(list.Items, modelOnWire(m, where))
	}
	return c.json(http.StatusOK, list)
}

func (c *call) showModel() error {
	m, err := c.models.Model(c.r.Context(), c.r.PathValue("name"))
	if err != nil {
		return modelProblem(err)
	}
	where, err := c.presence()
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, modelOnWire(m, where))
}

func (c *call) deleteModel() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	if err := c.models.Delete(c.r.Context(), c.r.PathValue("name")); err != nil {
		return modelProblem(err)
	}
	c.log.Info("model deleted", "model", c.r.PathValue("name"), "by", c.who.name)
	return c.nothing()
}

func (c *call) showModelVersion() error {
	v, err := c.modelVersion()
	if err != nil {
		return err
	}
	return c.answerVersion(http.StatusOK, v)
}

func (c *call) answerVersion(status int, v registry.Version) error {
	where, err := c.presence()
	if err != nil {
		return err
	}
	return c.json(status, modelVersionOnWire(v, where))
}

// modelManifest answers the manifest as it is stored, so that it has the
// version's digest.
func (c *call) modelManifest() error {
	v, err := c.modelVersion()
	if err != nil {
		return err
	}
	text, err := c.models.Manifest(c.r.Context(), v)
	if err != nil {
		return modelProblem(err)
	}
	c.w.Header().Set("Content-Type", "application/json")
	c.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = c.w.Write(text)
	return nil
}

func (c *call) deleteModelVersion() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	v, err := c.modelVersion()
	if err != nil {
		return err
	}
	if err := c.models.DeleteVersion(c.r.Context(), v.Name, v.Version); err != nil {
		return modelProblem(err)
	}
	c.log.Info("model version deleted", "model", v.Ref().String(), "by", c.who.name)
	return c.nothing()
}

// verifyModel takes as long as reading the version does.
func (c *call) verifyModel() error {
	if err := c.noBody(); err != nil {
		return err
	}
	v, err := c.modelVersion()
	if err != nil {
		return err
	}
	_, stop := c.stream()
	defer stop()
	found, err := c.models.Verify(c.r.Context(), v)
	if err != nil {
		return modelProblem(err)
	}
	where, err := c.presence()
	if err != nil {
		return err
	}
	out := api.ModelVerification{Version: modelVersionOnWire(v, where), Damages: []api.ModelDamage{}}
	for _, damage := range found.Damages {
		out.Damages = append(out.Damages, api.ModelDamage(damage))
	}
	return c.json(http.StatusOK, out)
}

func (c *call) tagModel() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	var request api.ModelTag
	if err := c.readJSON(modelTagShape, &request); err != nil {
		return err
	}
	var faults []job.Fault
	if tag := c.r.PathValue("tag"); !model.ValidTag(tag) {
		faults = append(faults, job.Fault{Field: "tag", Message: fmt.Sprintf("%q is no tag: a lower-case letter, then letters, digits, '.', '_' and '-', at most 63; and not latest", shorten([]byte(tag)))})
	}
	if request.Version < 1 {
		faults = append(faults, job.Fault{Field: "version", Message: fmt.Sprintf("%d is no version", request.Version)})
	}
	if len(faults) > 0 {
		return invalid(faults)
	}
	v, err := c.models.Resolve(c.r.Context(), model.Ref{Name: c.r.PathValue("name"), Version: request.Version})
	if err != nil {
		return modelProblem(err)
	}
	if err := c.models.Tag(c.r.Context(), v, c.r.PathValue("tag"), c.who.name); err != nil {
		return modelProblem(err)
	}
	return c.answerVersion(http.StatusOK, v)
}

func (c *call) untagModel() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	if err := c.models.Untag(c.r.Context(), c.r.PathValue("name"), c.r.PathValue("tag")); err != nil {
		return modelProblem(err)
	}
	return c.nothing()
}

func (c *call) modelChunk() error {
	content, err := c.models.Chunk(c.r.Context(), c.r.PathValue("sha256"))
	if err != nil {
		return modelProblem(err)
	}
	defer content.Close()
	c.w.Header().Set("Content-Type", "application/octet-stream")
	// What breaks off here, the receiver finds by its sum.
	_, _ = io.Copy(c.w, content)
	return nil
}

func (c *call) collectModels() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	if err := c.noBody(); err != nil {
		return err
	}
	_, stop := c.stream()
	defer stop()
	done, err := c.models.Collect(c.r.Context())
	if err != nil {
		return modelProblem(err)
	}
	return c.json(http.StatusOK, api.ModelCollection{
		Removed: done.Chunks, RemovedBytes: done.Bytes, Kept: done.Kept, ExpiredUploads: done.Uploads,
	})
}

func (c *call) beginUpload() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	var request api.NewModelUpload
	if err := c.readJSON(newUploadShape, &request); err != nil {
		return err
	}
	if !model.ValidName(request.Name) {
		return invalid([]job.Fault{{Field: "name", Message: fmt.Sprintf("%q is no name of a model: lower-case letters, digits, '.', '_' and '-' expected, at most 100", shorten([]byte(request.Name)))}})
	}
	id, err := c.models.Begin(c.r.Context(), request.Name, c.who.name)
	if err != nil {
		return modelProblem(err)
	}
	c.w.Header().Set("Location", "/api/v1/model-uploads/"+id)
	return c.json(http.StatusCreated, api.ModelUpload{ID: id, Name: request.Name, ExpirySeconds: registry.DefaultExpiry.Seconds()})
}

func (c *call) missingChunks() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	var request api.ModelChunks
	if err := c.readJSON(modelChunksShape, &request); err != nil {
		return err
	}
	var faults []job.Fault
	if len(request.Chunks) > maxAsked {
		faults = append(faults, job.Fault{Field: "chunks", Message: fmt.Sprintf("has %d entries; at most %d are allowed", len(request.Chunks), maxAsked)})
	}
	for i, chunk := range request.Chunks[:min(len(request.Chunks), maxAsked)] {
		if !model.ValidSum(chunk.SHA256) {
			faults = append(faults, job.Fault{Field: fmt.Sprintf("chunks[%d].sha256", i), Message: "is no SHA-256 in hex"})
		}
	}
	if len(faults) > 0 {
		return invalid(faults)
	}
	missing, err := c.models.Missing(c.r.Context(), c.r.PathValue("id"), request.Chunks)
	if err != nil {
		return modelProblem(err)
	}
	return c.json(http.StatusOK, api.MissingChunks{Missing: missing})
}

func (c *call) putChunk() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	if _, err := c.contentType(); err != nil {
		return err
	}
	sum := c.r.PathValue("sha256")
	return c.read(func(content []byte) error {
		err := c.models.Put(c.r.Context(), c.r.PathValue("id"), sum, bytes.NewReader(content))
		if errors.Is(err, registry.ErrCorrupt) {
			return newProblem(api.ProblemMalformed, "the body is not the chunk %s: it was changed on the way", shorten([]byte(sum)))
		}
		if err != nil {
			return modelProblem(err)
		}
		return c.nothing()
	})
}

func (c *call) commitUpload() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	var m api.ModelManifest
	if err := c.readJSON(modelManifestShape, &m); err != nil {
		return err
	}
	if faults := m.Validate(); len(faults) > 0 {
		all := make([]job.Fault, len(faults))
		for i, fault := range faults {
			all[i] = job.Fault(fault)
		}
		return invalid(all)
	}
	_, stop := c.stream()
	defer stop()
	v, created, err := c.models.Commit(c.r.Context(), c.r.PathValue("id"), m, c.who.name)
	if err != nil {
		return modelProblem(err)
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		c.log.Info("model version made", "model", v.Ref().String(), "bytes", v.Bytes, "by", c.who.name)
	}
	c.w.Header().Set("Location", "/api/v1/models/"+v.Name+"/versions/"+strconv.FormatInt(v.Version, 10))
	return c.answerVersion(status, v)
}

func (c *call) abortUpload() error {
	if err := c.mayEditModels(); err != nil {
		return err
	}
	if err := c.models.Abort(c.r.Context(), c.r.PathValue("id")); err != nil {
		return modelProblem(err)
	}
	return c.nothing()
}

var modelReaders = slices.Concat(readers, agents)
