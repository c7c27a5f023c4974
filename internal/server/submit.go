package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/queue"
)

// maxBatch bounds the submissions of one batch.
const maxBatch = 1000

// The manifest is not required by the shape: that it is missing is told
// together with what else is wrong, when it is compiled.
var (
	submissionShape = shapeOf[api.Submission]().withoutRequired()
	batchItemShape  = shapeOf[api.BatchItem]().withoutRequired()
)

// submit takes one job.
func (c *call) submit() error {
	key, err := idempotencyKey(c.r.Header.Values("Idempotency-Key"))
	if err != nil {
		return err
	}
	contentType, err := c.contentType()
	if err != nil {
		return err
	}
	submission := queue.Submission{Key: key}
	err = c.read(func(text []byte) (err error) {
		if contentType == "application/yaml" {
			submission.Request.Manifest, err = yamlAsJSON(text)
			return err
		}
		submission.Request, submission.Faults, err = decodeSubmission(text)
		return malformedBody(err)
	})
	if err != nil {
		return err
	}
	return c.answerSubmission(submission)
}

// answerSubmission submits one job and answers it.
func (c *call) answerSubmission(submission queue.Submission) error {
	result := c.submitAll([]queue.Submission{submission})[0]
	if result.Err != nil {
		return result.Err
	}
	status := http.StatusCreated
	if !result.Created {
		status = http.StatusOK
		c.w.Header().Set("Idempotent-Replay", "true")
	}
	c.w.Header().Set("Location", "/api/v1/jobs/"+string(result.Job.ID))
	return c.json(status, jobOnWire(result.Job))
}

func (c *call) submitAll(submissions []queue.Submission) []queue.Submitted {
	for i := range submissions {
		submissions[i].Identity, submissions[i].Namespaces = c.who.name, c.who.namespaces
	}
	results := c.queue.Submit(c.r.Context(), submissions)
	for _, result := range results {
		switch {
		case result.Err != nil:
			c.metrics.refused.Inc()
		case result.Created:
			c.metrics.submitted.Inc()
		default:
			c.metrics.replayed.Inc()
		}
	}
	return results
}

// decodeSubmission reads a submission, or a raw manifest: a document with
// apiVersion and kind at its top.
func decodeSubmission(text []byte) (api.Submission, []job.Fault, error) {
	scanned, err := scanDocument(text, submissionShape)
	if err != nil {
		return api.Submission{}, nil, err
	}
	if scanned.has("apiVersion") && scanned.has("kind") {
		if !json.Valid(text) {
			return api.Submission{}, nil, &malformed{"the body is not JSON"}
		}
		return api.Submission{Manifest: slices.Clone(text)}, nil, nil
	}
	var submission api.Submission
	faults, err := scanned.unmarshal(text, &submission)
	return submission, faults, err
}

// yamlAsJSON wraps a manifest in YAML as a submission has it: in a string.
func yamlAsJSON(text []byte) (json.RawMessage, error) {
	if len(text) == 0 {
		return nil, newProblem(api.ProblemMalformed, "the body is empty; it should be a manifest")
	}
	if !utf8.Valid(text) {
		return nil, newProblem(api.ProblemMalformed, "the body is not UTF-8 text")
	}
	wrapped, err := json.Marshal(string(text))
	if err != nil {
		return nil, fmt.Errorf("wrapping the manifest: %w", err)
	}
	return wrapped, nil
}

// idempotencyKey checks the header.
func idempotencyKey(values []string) (string, error) {
	if len(values) == 0 {
		return "", nil
	}
	var message string
	switch key := values[0]; {
	case len(values) > 1:
		message = "is given more than once"
	default:
		message = keyFault(key)
	}
	if message != "" {
		return "", invalid([]job.Fault{{Field: "Idempotency-Key", Message: message}})
	}
	return values[0], nil
}

// keyFault says what is wrong with an idempotency key.
func keyFault(key string) string {
	const most = 255
	if len(key) < 1 || len(key) > most || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Sprintf("should be 1 to %d printable ASCII characters", most)
	}
	return ""
}

// submitBatch takes many jobs, each by itself.
func (c *call) submitBatch() error {
	if _, err := c.contentType(); err != nil {
		return err
	}
	var items []batchItem
	err := c.read(func(text []byte) (err error) {
		items, err = decodeBatch(text)
		return err
	})
	if err != nil {
		return err
	}
	submissions := make([]queue.Submission, len(items))
	for i, item := range items {
		submissions[i] = queue.Submission{Key: item.IdempotencyKey, Request: item.Submission, Faults: item.faults}
	}
	result := api.BatchResult{Items: make([]api.BatchItemResult, len(items))}
	for i, submitted := range c.submitAll(submissions) {
		result.Items[i] = batchResult(submitted)
		if p := result.Items[i].Problem; p != nil && p.Status >= 500 {
			c.logFailure(c, problemOf(submitted.Err), submitted.Err)
		}
	}
	return c.json(http.StatusOK, result)
}

func batchResult(submitted queue.Submitted) api.BatchItemResult {
	if submitted.Err != nil {
		p := problemOf(submitted.Err)
		return api.BatchItemResult{Status: p.Status, Problem: &p.Problem}
	}
	wire := jobOnWire(submitted.Job)
	status := http.StatusCreated
	if !submitted.Created {
		status = http.StatusOK
	}
	return api.BatchItemResult{Status: status, Job: &wire}
}

type batchItem struct {
	api.BatchItem
	faults []job.Fault
}

// decodeBatch reads the envelope once and each item by itself, so that a
// fault in one item is that item's. What is not JSON at all fails them all.
func decodeBatch(text []byte) ([]batchItem, error) {
	var texts [][]byte
	envelope := &shape{kind: kindStruct, required: []string{"items"}, fields: map[string]*shape{
		"items": {kind: kindList, element: anyShape, each: func(item []byte) { texts = append(texts, item) }},
	}}
	scanned, err := scanDocument(text, envelope)
	if err != nil {
		return nil, malformedBody(err)
	}
	if len(scanned.faults) == 0 && (len(texts) == 0 || len(texts) > maxBatch) {
		scanned.faults = []job.Fault{{Field: "items", Message: fmt.Sprintf("has %d submissions; 1 to %d are allowed", len(texts), maxBatch)}}
	}
	if len(scanned.faults) > 0 {
		return nil, invalid(scanned.faults)
	}
	items := make([]batchItem, len(texts))
	for i, text := range texts {
		faults, err := decodeStrict(text, batchItemShape, &items[i].BatchItem)
		if m, ok := errors.AsType[*malformed](err); ok {
			return nil, newProblem(api.ProblemMalformed, "items[%d]: %s", i, m.message)
		}
		if key := items[i].IdempotencyKey; key != "" {
			if message := keyFault(key); message != "" {
				faults = append(faults, job.Fault{Field: "idempotencyKey", Message: message})
			}
		}
		items[i].faults = faults
	}
	return items, nil
}
