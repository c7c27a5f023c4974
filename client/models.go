package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/gco-project/gco/api"
)

// chunkTimeout bounds one try to send or to fetch a chunk of a model: 8 MiB at
// most.
const chunkTimeout = 5 * time.Minute

// Models lists every model, by name, with its newest version.
func (c *Client) Models(ctx context.Context) (api.ModelList, error) {
	var list api.ModelList
	err := c.get(ctx, root+"/models", nil, &list)
	return list, err
}

// Model returns a model with all its versions.
func (c *Client) Model(ctx context.Context, name string) (api.Model, error) {
	var m api.Model
	err := c.get(ctx, modelPath(name), nil, &m)
	return m, err
}

// DeleteModel deletes a model with all its versions and tags.
func (c *Client) DeleteModel(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: modelPath(name)}, nil)
	return err
}

// ModelVersion returns one version; which is a number, a tag, or "latest".
func (c *Client) ModelVersion(ctx context.Context, name, which string) (api.ModelVersion, error) {
	var v api.ModelVersion
	err := c.get(ctx, modelVersionPath(name, which), nil, &v)
	return v, err
}

// DeleteModelVersion deletes one version, unless a tag names it.
func (c *Client) DeleteModelVersion(ctx context.Context, name, which string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: modelVersionPath(name, which)}, nil)
	return err
}

// ModelManifest returns the files of a version.
func (c *Client) ModelManifest(ctx context.Context, name, which string) (api.ModelManifest, error) {
	var m api.ModelManifest
	err := c.get(ctx, modelVersionPath(name, which)+"/manifest", nil, &m)
	return m, err
}

// VerifyModel has every byte of a version read, for as long as it takes.
func (c *Client) VerifyModel(ctx context.Context, name, which string) (api.ModelVerification, error) {
	var v api.ModelVerification
	_, err := c.do(ctx, call{method: http.MethodPost, path: modelVersionPath(name, which) + "/verify", timeout: -1}, &v)
	return v, err
}

// TagModel lets a tag name a version.
func (c *Client) TagModel(ctx context.Context, name, tag string, version int64) (api.ModelVersion, error) {
	what, err := jsonCall(modelTagPath(name, tag), api.ModelTag{Version: version})
	if err != nil {
		return api.ModelVersion{}, err
	}
	what.method, what.repeat = http.MethodPut, true
	var v api.ModelVersion
	_, err = c.do(ctx, what, &v)
	return v, err
}

// UntagModel removes a tag.
func (c *Client) UntagModel(ctx context.Context, name, tag string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: modelTagPath(name, tag)}, nil)
	return err
}

// CollectModels removes the chunks that nothing uses.
func (c *Client) CollectModels(ctx context.Context) (api.ModelCollection, error) {
	var done api.ModelCollection
	_, err := c.do(ctx, call{method: http.MethodPost, path: root + "/models:collect", timeout: -1}, &done)
	return done, err
}

// BeginModelUpload begins to upload a version.
func (c *Client) BeginModelUpload(ctx context.Context, name string) (api.ModelUpload, error) {
	what, err := jsonCall(root+"/model-uploads", api.NewModelUpload{Name: name})
	if err != nil {
		return api.ModelUpload{}, err
	}
	// One more upload that nobody goes on with costs nothing.
	what.repeat = true
	var upload api.ModelUpload
	_, err = c.do(ctx, what, &upload)
	return upload, err
}

// MissingChunks tells which chunks are to be sent.
func (c *Client) MissingChunks(ctx context.Context, upload string, chunks []api.ModelChunk) ([]string, error) {
	what, err := jsonCall(uploadPath(upload)+"/missing", api.ModelChunks{Chunks: chunks})
	if err != nil {
		return nil, err
	}
	what.repeat = true
	var answer api.MissingChunks
	_, err = c.do(ctx, what, &answer)
	return answer.Missing, err
}

// PutModelChunk sends a chunk.
func (c *Client) PutModelChunk(ctx context.Context, upload, sum string, content []byte) error {
	_, err := c.do(ctx, call{
		method: http.MethodPut, path: uploadPath(upload) + "/chunks/" + url.PathEscape(sum),
		body: content, contentType: "application/octet-stream", repeat: true, timeout: chunkTimeout,
	}, nil)
	return err
}

// CommitModelUpload makes the version. created is false where the newest one
// has the same files.
func (c *Client) CommitModelUpload(ctx context.Context, upload string, m api.ModelManifest) (v api.ModelVersion, created bool, err error) {
	what, err := jsonCall(uploadPath(upload)+"/commit", m)
	if err != nil {
		return v, false, err
	}
	what.timeout = chunkTimeout
	answer, err := c.do(ctx, what, &v)
	return v, err == nil && answer.StatusCode == http.StatusCreated, err
}

// AbortModelUpload forgets an upload.
func (c *Client) AbortModelUpload(ctx context.Context, upload string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: uploadPath(upload), repeat: true}, nil)
	return err
}

// ModelChunk opens a chunk. The caller checks what it reads, and closes it.
func (c *Client) ModelChunk(ctx context.Context, sum string) (io.ReadCloser, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, chunkTimeout, errTooSlow)
	what := call{method: http.MethodGet, path: root + "/model-chunks/" + url.PathEscape(sum), repeat: true}
	var body io.ReadCloser
	err := c.repeat(ctx, what, func() error {
		response, err := c.open(ctx, what)
		if err != nil {
			return err
		}
		body = response.Body
		return nil
	})
	if err != nil {
		cancel()
		return nil, err
	}
	return &cancelledBody{body, cancel}, nil
}

// cancelledBody gives up its request when it is closed.
type cancelledBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *cancelledBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

func modelPath(name string) string { return root + "/models/" + url.PathEscape(name) }

func modelVersionPath(name, which string) string {
	return modelPath(name) + "/versions/" + url.PathEscape(which)
}

func modelTagPath(name, tag string) string { return modelPath(name) + "/tags/" + url.PathEscape(tag) }

func uploadPath(id string) string { return root + "/model-uploads/" + url.PathEscape(id) }
