package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/aws/awstest"
	"github.com/gco-project/gco/internal/blob/blobtest"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

// account is what stands in for an AWS account: tables, a bucket, and the
// parameters that name them.
type account struct {
	project string
	ssm     *awstest.SSM
	s3      blobtest.S3
	tables  dynamodb.Options
}

func newAccount(t *testing.T) *account {
	t.Helper()
	engine := dynamotest.Start(t, dynamotest.Dynoxide)
	a := &account{project: project(), s3: blobtest.Start(t, false)}
	_ = a.s3.Bucket(t, "objects")
	parameters := map[string]string{"/" + a.project + "/objects-bucket-name": "objects"}
	names := map[string]string{}
	for parameter, table := range map[string]string{
		"jobs": dynamodb.TableJobs, "templates": dynamodb.TableTemplates, "webhooks": dynamodb.TableWebhooks,
		"inference-endpoints": dynamodb.TableEndpoints, "state": dynamodb.TableState, "events": dynamodb.TableEvents,
	} {
		// Names that nobody could guess: they have to be found.
		names[table] = a.project + "-found-" + table
		parameters["/"+a.project+"/"+parameter+"-table-name"] = names[table]
	}
	a.ssm = awstest.StartSSM(t, "us-east-2", parameters)
	t.Setenv("AWS_ENDPOINT_URL_DYNAMODB", engine.URL)
	t.Setenv("AWS_ENDPOINT_URL_S3", a.s3.Endpoint)
	// What infra/ does in an account, with shards for one machine.
	a.tables = dynamodb.Options{
		Project: a.project, Names: names, Region: "us-east-2", EndpointURL: engine.URL, CreateTables: true,
		Credentials: dynamotest.Credentials, Shards: dynamodb.Shards{Index: 2, List: 2, Guard: 2, Tail: 2},
	}
	made, err := dynamodb.Open(t.Context(), a.tables)
	if err != nil {
		t.Fatal(err)
	}
	if err := made.Close(); err != nil {
		t.Fatal(err)
	}
	return a
}

// server starts a server that is told the project and its Region, and nothing
// else that it could find.
func (a *account) server(t *testing.T, dir string) *roles {
	t.Helper()
	c := &roles{dir: dir, config: filepath.Join(dir, "gco.yaml")}
	if err := os.WriteFile(c.config, []byte(shortLeases), 0o600); err != nil {
		t.Fatal(err)
	}
	c.process = launch(t, dir, "server", "--project", a.project, "--global-region", "us-east-2", "--listen", "127.0.0.1:0", "--config", c.config)
	t.Cleanup((&system{dir: dir}).killSupervisors)
	return c
}

// TestServerFindsEverythingByItsProject runs a job with a large manifest from
// one server's submission to its archived logs on another.
func TestServerFindsEverythingByItsProject(t *testing.T) {
	a := newAccount(t)
	state := t.TempDir()
	t.Setenv("XDG_STATE_HOME", state)
	first := a.server(t, t.TempDir())
	first.connect(filepath.Join(state, "gco-"+a.project))
	first.agent("us-east-1", "agent")

	submitted := first.submit(large(t))
	done := until(t, first.client, submitted.ID, "over, its logs archived", func(j api.Job) bool {
		return finished(j) && j.Logs == "archived"
	})
	if done.State != "succeeded" {
		t.Fatalf("the job %s: %s", done.State, done.Message)
	}
	for folder, want := range map[string]int{"logs": 1, "manifests": 1} {
		if found := files(t, filepath.Join(a.s3.Dir, "objects", folder)); found != want {
			t.Errorf("%d objects in %s, want %d", found, folder, want)
		}
	}

	first.kill()
	second := a.server(t, t.TempDir())
	second.connect(filepath.Join(state, "gco-"+a.project))
	logs, err := second.client.Logs(t.Context(), submitted.ID, client.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	if text, err := io.ReadAll(logs); err != nil || !strings.Contains(string(text), "hello, world") {
		t.Errorf("the logs on another server: %q, %v", text, err)
	}
}

func TestServerNamesWhatAnAccountLacks(t *testing.T) {
	a := newAccount(t)
	delete(a.ssm.Parameters, "/"+a.project+"/events-table-name")
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	server := a.server(t, t.TempDir())
	if code := server.wait(); code == 0 || !strings.Contains(server.text(), "/"+a.project+"/events-table-name are missing in us-east-2") {
		t.Errorf("exit %d: %s", code, server.text())
	}
}

// large is a job whose manifest is too much for an item of DynamoDB, even
// packed.
func large(t *testing.T) api.Submission {
	t.Helper()
	type variable struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	var env []variable
	for i := range 6 {
		noise := make([]byte, 80_000)
		_, _ = rand.Read(noise)
		env = append(env, variable{fmt.Sprintf("NOISE_%d", i), base64.StdEncoding.EncodeToString(noise)})
	}
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "large"},
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
			"restartPolicy": "Never",
			"containers": []any{map[string]any{
				"name": "main", "image": "busybox", "env": env,
				"command": []string{"sh", "-c", `env | grep -c ^NOISE_ >count; test "$(cat count)" = 6 && echo hello, world`},
			}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return api.Submission{Manifest: manifest}
}

// files counts what is below a folder.
func files(t *testing.T, dir string) int {
	t.Helper()
	count := 0
	err := filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			count++
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return count
}
