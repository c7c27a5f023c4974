package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/blob"
	"github.com/gco-project/gco/internal/model"
	"github.com/gco-project/gco/internal/model/registry"
)

// brokenModels is a registry whose bucket is away while the store is down.
type brokenModels struct {
	whole, broken Models
	*switches
}

// newBrokenModels breaks a registry: another one has a bucket that was closed.
func newBrokenModels(t testing.TB, whole Models, s *switches) Models {
	t.Helper()
	bucket, err := blob.OpenDir(t.TempDir())
	if err == nil {
		err = bucket.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return brokenModels{whole, registry.New(registry.Options{Bucket: bucket}), s}
}

func (b brokenModels) now() Models {
	if b.down.Load() {
		return b.broken
	}
	return b.whole
}

func (b brokenModels) Models(ctx context.Context) ([]registry.Model, error) {
	return b.now().Models(ctx)
}

func (b brokenModels) Model(ctx context.Context, name string) (registry.Model, error) {
	return b.now().Model(ctx, name)
}

func (b brokenModels) Resolve(ctx context.Context, ref model.Ref) (registry.Version, error) {
	return b.now().Resolve(ctx, ref)
}

func (b brokenModels) Manifest(ctx context.Context, v registry.Version) ([]byte, error) {
	return b.now().Manifest(ctx, v)
}

func (b brokenModels) Chunk(ctx context.Context, sum string) (io.ReadCloser, error) {
	return b.now().Chunk(ctx, sum)
}

func (b brokenModels) Tag(ctx context.Context, v registry.Version, tag, by string) error {
	return b.now().Tag(ctx, v, tag, by)
}

func (b brokenModels) Untag(ctx context.Context, name, tag string) error {
	return b.now().Untag(ctx, name, tag)
}

func (b brokenModels) Delete(ctx context.Context, name string) error {
	return b.now().Delete(ctx, name)
}

func (b brokenModels) DeleteVersion(ctx context.Context, name string, version int64) error {
	return b.now().DeleteVersion(ctx, name, version)
}

func (b brokenModels) Verify(ctx context.Context, v registry.Version) (registry.Verification, error) {
	return b.now().Verify(ctx, v)
}

func (b brokenModels) Collect(ctx context.Context) (registry.Collection, error) {
	if b.limited.Load() {
		return registry.Collection{}, registry.ErrBusy
	}
	return b.now().Collect(ctx)
}

func (b brokenModels) Begin(ctx context.Context, name, by string) (string, error) {
	return b.now().Begin(ctx, name, by)
}

func (b brokenModels) Missing(ctx context.Context, id string, chunks []model.Chunk) ([]string, error) {
	return b.now().Missing(ctx, id, chunks)
}

func (b brokenModels) Put(ctx context.Context, id, sum string, content io.Reader) error {
	return b.now().Put(ctx, id, sum, content)
}

func (b brokenModels) Commit(ctx context.Context, id string, m model.Manifest, by string) (registry.Version, bool, error) {
	return b.now().Commit(ctx, id, m, by)
}

func (b brokenModels) Abort(ctx context.Context, id string) error { return b.now().Abort(ctx, id) }

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// oneFile is a manifest of one file of one chunk.
func oneFile(content string) api.ModelManifest {
	return api.ModelManifest{Files: []api.ModelFile{{
		Path: "weights.bin", Size: int64(len(content)), SHA256: sumOf(content),
		Chunks: []api.ModelChunk{{SHA256: sumOf(content), Size: int64(len(content))}},
	}}}
}

func (sc *scenario) pushModel(content string) api.ModelVersion {
	sc.t.Helper()
	ctx := sc.t.Context()
	m := oneFile(content)
	upload, err := sc.admin.BeginModelUpload(ctx, "llama")
	sc.must(err)
	_, _, err = sc.admin.CommitModelUpload(ctx, upload.ID, m)
	sc.mustFail(409, err)
	missing, err := sc.admin.MissingChunks(ctx, upload.ID, m.Files[0].Chunks)
	sc.must(err)
	if len(missing) != 1 {
		sc.t.Errorf("missing are %v", missing)
	}
	sc.mustFail(400, sc.admin.PutModelChunk(ctx, upload.ID, missing[0], []byte("forged")))
	sc.must(sc.admin.PutModelChunk(ctx, upload.ID, missing[0], []byte(content)))
	v, created, err := sc.admin.CommitModelUpload(ctx, upload.ID, m)
	sc.must(err)
	if !created || v.Bytes != int64(len(content)) {
		sc.t.Errorf("created %t: %+v", created, v)
	}
	return v
}

func (sc *scenario) keepsModels() {
	ctx := sc.t.Context()
	first, second := sc.pushModel("some weights"), sc.pushModel("other weights")
	sc.refusesModels()
	again, err := sc.admin.BeginModelUpload(ctx, "llama")
	sc.must(err)
	if v, created, err := sc.admin.CommitModelUpload(ctx, again.ID, oneFile("other weights")); err != nil || created || v.Version != second.Version {
		sc.t.Errorf("the same files: %+v, %t, %v", v, created, err)
	}
	sc.must(sc.admin.AbortModelUpload(ctx, again.ID))
	sc.agent.sync(api.SyncRequest{Capacity: &api.Snapshot{
		Nodes:  []api.NodeShape{{Count: 4, Free: bigNode(), Total: bigNode(), Architecture: "amd64"}},
		Models: []string{"llama@1"},
	}})
	_, err = sc.admin.TagModel(ctx, "llama", "prod", first.Version)
	sc.must(err)
	list, err := sc.admin.Models(ctx)
	sc.must(err)
	if len(list.Items) != 1 || list.Items[0].Tags["prod"] != 1 || list.Items[0].Versions[0].Version != 2 {
		sc.t.Errorf("the models are %+v", list)
	}
	shown, err := sc.admin.Model(ctx, "llama")
	sc.must(err)
	if len(shown.Versions) != 2 || shown.Versions[0].Version != 2 {
		sc.t.Errorf("the model is %+v", shown)
	}
	v, err := sc.admin.ModelVersion(ctx, "llama", "prod")
	sc.must(err)
	if v.Version != 1 || len(v.Regions) != 1 {
		sc.t.Errorf("what is tagged is %+v", v)
	}
	m, err := sc.admin.ModelManifest(ctx, "llama", "prod")
	sc.must(err)
	if len(m.Files) != 1 || m.Files[0].SHA256 != sumOf("some weights") {
		sc.t.Errorf("its files are %+v", m)
	}
	chunk, err := sc.admin.ModelChunk(ctx, m.Files[0].Chunks[0].SHA256)
	sc.must(err)
	text, err := io.ReadAll(chunk)
	sc.must(err)
	sc.must(chunk.Close())
	if string(text) != "some weights" {
		sc.t.Errorf("the chunk is %q", text)
	}
	sc.verifiesModels()
	sc.mustFail(409, sc.admin.DeleteModelVersion(ctx, "llama", "1"))
	sc.must(sc.admin.UntagModel(ctx, "llama", "prod"))
	sc.must(sc.admin.DeleteModelVersion(ctx, "llama", "1"))
	done, err := sc.admin.CollectModels(ctx)
	sc.must(err)
	if done.Removed == 0 || done.Kept == 0 {
		sc.t.Errorf("collected %+v", done)
	}
	sc.must(sc.admin.DeleteModel(ctx, "llama"))
}

// wide takes the whole region.
func wide(s *api.Submission) {
	text := strings.Replace(helloManifest, `"spec":{"template"`, `"spec":{"parallelism":2,"completions":2,"template"`, 1)
	s.Manifest = json.RawMessage(strings.Replace(text, `"cpu":"100m"`, `"cpu":"60"`, 1))
	s.Placement = &api.Placement{Regions: []string{testRegion}}
}

// usesModels has one job run with a model, and another one wait with one.
func (sc *scenario) usesModels() {
	ctx := sc.t.Context()
	v := sc.pushModel("weights for a job")
	ref := fmt.Sprintf("llama@%d", v.Version)
	reads := func(s *api.Submission) { s.Model = "llama" }
	running := sc.submit(reads, func(s *api.Submission) { s.Placement = &api.Placement{Regions: []string{testRegion}} })
	if running.Model != ref {
		sc.t.Errorf("the job names %q", running.Model)
	}
	var attempt api.AttemptRef
	for tries := 0; tries < 20 && attempt.JobID == ""; tries++ {
		for _, start := range sc.agent.sync(api.SyncRequest{MaxStart: 1, WaitSeconds: 1}).Start {
			if start.JobID == running.ID && start.Model == ref {
				attempt = start.AttemptRef
			}
		}
	}
	if attempt.JobID == "" {
		why, err := sc.admin.ExplainJob(ctx, running.ID)
		sc.t.Fatalf("the region was not given the job: %+v, %v", why, err)
	}
	waiting := sc.submit(wide, reads)
	var wanted []string
	for tries := 0; tries < 20 && len(wanted) == 0; tries++ {
		wanted = sc.agent.sync(api.SyncRequest{MaxStart: 1, WaitSeconds: 1, Known: []api.AttemptRef{attempt}}).Models
	}
	if !slices.Equal(wanted, []string{ref}) {
		sc.t.Errorf("the region is told to fetch %v", wanted)
	}
	sc.agent.sync(api.SyncRequest{Models: wanted})
	_, err := sc.admin.CancelJob(ctx, waiting.ID)
	sc.must(err)
	_, err = sc.admin.CancelJob(ctx, running.ID)
	sc.must(err)
	sc.agent.report(attempt, "stopped")
	none := hello()
	none.Model = "none@1"
	batch, err := sc.admin.SubmitBatch(ctx, []api.BatchItem{{Submission: none}})
	sc.must(err)
	if batch.Items[0].Status != 422 {
		sc.t.Errorf("a model that is not there: %+v", batch.Items[0])
	}
	step := hello()
	step.Model = "llama"
	p, _, err := sc.admin.SubmitPipeline(ctx, api.NewPipeline{Name: "reads", Steps: []api.NewStep{{Name: "reads", Submission: step}}}, "")
	sc.must(err)
	_, err = sc.admin.CancelPipeline(ctx, p.ID)
	sc.must(err)
}

// verifiesModels damages one version, and finds it.
func (sc *scenario) verifiesModels() {
	ctx := sc.t.Context()
	whole, err := sc.admin.VerifyModel(ctx, "llama", "1")
	sc.must(err)
	if len(whole.Damages) > 0 {
		sc.t.Errorf("what is whole is %+v", whole)
	}
	sum := sumOf("other weights")
	sc.must(os.WriteFile(filepath.Join(sc.logDir, "models", "chunks", sum[:2], sum), []byte("other weighty"), 0o600))
	for _, missing := range []bool{false, true} {
		found, err := sc.admin.VerifyModel(ctx, "llama", "2")
		sc.must(err)
		if len(found.Damages) != 1 || found.Damages[0].Chunk != sum || found.Damages[0].Missing != missing {
			sc.t.Errorf("what is damaged is %+v", found)
		}
	}
}

// refusesModels says every way in which a call about models may fail.
func (sc *scenario) refusesModels() {
	ctx := sc.t.Context()
	upload, err := sc.admin.BeginModelUpload(ctx, "llama")
	sc.must(err)
	_, err = sc.admin.BeginModelUpload(ctx, "Not a name")
	sc.mustFail(422, err)
	_, err = sc.admin.MissingChunks(ctx, upload.ID, []api.ModelChunk{{SHA256: "x", Size: 1}})
	sc.mustFail(422, err)
	_, err = sc.admin.MissingChunks(ctx, upload.ID, make([]api.ModelChunk, 1001))
	sc.mustFail(422, err)
	_, _, err = sc.admin.CommitModelUpload(ctx, upload.ID, api.ModelManifest{Files: []api.ModelFile{{Path: "../x"}}})
	sc.mustFail(422, err)
	_, err = sc.admin.TagModel(ctx, "llama", "latest", 0)
	sc.mustFail(422, err)
	for _, path := range []string{"/api/v1/models:collect", "/api/v1/models/llama/versions/1/verify"} {
		response, text := sc.raw(post, path, nil, "a body")
		sc.want(400, response, text)
	}
	sc.limited.Store(true)
	_, err = sc.admin.CollectModels(ctx)
	sc.mustFail(409, err)
	sc.limited.Store(false)
	sc.eachModelCall(404, "none", "9", "00000000-0000-4000-8000-000000000000")
	sc.mustFail(404, sc.admin.AbortModelUpload(ctx, "none"))
	sc.down.Store(true)
	sc.eachModelCall(503, "llama", "1", upload.ID)
	_, err = sc.admin.Models(ctx)
	sc.mustFail(503, err)
	_, err = sc.admin.BeginModelUpload(ctx, "llama")
	sc.mustFail(503, err)
	sc.mustFail(503, sc.admin.AbortModelUpload(ctx, upload.ID))
	_, err = sc.admin.CollectModels(ctx)
	sc.mustFail(503, err)
	sc.down.Store(false)
}

// eachModelCall makes all that have to fail alike.
func (sc *scenario) eachModelCall(status int, name, version, upload string) {
	sc.t.Helper()
	ctx := sc.t.Context()
	content := "never sent"
	_, err := sc.admin.Model(ctx, name)
	sc.mustFail(status, err)
	_, err = sc.admin.ModelVersion(ctx, name, version)
	sc.mustFail(status, err)
	_, err = sc.admin.ModelManifest(ctx, name, version)
	sc.mustFail(status, err)
	_, err = sc.admin.VerifyModel(ctx, name, version)
	sc.mustFail(status, err)
	_, err = sc.admin.TagModel(ctx, name, "prod", 9)
	sc.mustFail(status, err)
	_, err = sc.admin.ModelChunk(ctx, sumOf(content))
	sc.mustFail(status, err)
	_, err = sc.admin.MissingChunks(ctx, upload, oneFile(content).Files[0].Chunks)
	sc.mustFail(status, err)
	_, _, err = sc.admin.CommitModelUpload(ctx, upload, oneFile(content))
	sc.mustFail(status, err)
	sc.mustFail(status, sc.admin.PutModelChunk(ctx, upload, sumOf(content), []byte(content)))
	sc.mustFail(status, sc.admin.UntagModel(ctx, name, "prod"))
	sc.mustFail(status, sc.admin.DeleteModelVersion(ctx, name, version))
	sc.mustFail(status, sc.admin.DeleteModel(ctx, name))
}

func TestModelsAreForTokensOfAllNamespaces(t *testing.T) {
	s := start(t)
	ctx := t.Context()
	narrow := s.as(api.NewToken{Name: "narrow", Role: "submitter", Namespaces: []string{"team-a"}})
	wide := s.as(api.NewToken{Name: "wide", Role: "submitter"})
	agent := s.as(api.NewToken{Name: "agent", Role: "agent", Region: testRegion})
	if _, err := wide.BeginModelUpload(ctx, "llama"); err != nil {
		t.Error(err)
	}
	if _, err := narrow.BeginModelUpload(ctx, "llama"); err == nil || !strings.Contains(err.Error(), "team-a") {
		t.Errorf("a token of one namespace: %v", err)
	}
	for name, err := range map[string]error{
		"narrow collects": func() error { _, err := narrow.CollectModels(ctx); return err }(),
		"narrow deletes":  narrow.DeleteModel(ctx, "llama"),
		"an agent lists":  func() error { _, err := agent.Models(ctx); return err }(),
	} {
		if err == nil || !strings.Contains(fmt.Sprint(err), "llowed") && !strings.Contains(fmt.Sprint(err), "models") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := narrow.Models(ctx); err != nil {
		t.Error(err)
	}
}
