package dynamodb_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/gco-project/gco/internal/job"
	"github.com/gco-project/gco/internal/store"
	"github.com/gco-project/gco/internal/store/dynamodb"
	"github.com/gco-project/gco/internal/store/dynamodb/dynamotest"
)

// TestOpenSaysWhatIsWrong opens tables that are missing, wrong or forbidden:
// each time the one error names the table and what to do.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	onEachEngine(t, func(t *testing.T, e *dynamotest.Engine) {
		missing := e.Options()
		missing.CreateTables = false
		wrong := e.Options()
		makeWrongTable(t, e, wrong.Project+"-"+dynamodb.TableState)
		numbers := e.Options()
		makeTableOf(t, e, &sdk.CreateTableInput{
			TableName: aws.String(numbers.Project + "-" + dynamodb.TableTemplates),
			KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("template_name"), KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("template_name"), AttributeType: types.ScalarAttributeTypeN},
			},
		})
		narrow := e.Options()
		makeTableOf(t, e, &sdk.CreateTableInput{
			TableName: aws.String(narrow.Project + "-" + dynamodb.TableWebhooks),
			KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("webhook_id"), KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("webhook_id"), AttributeType: types.ScalarAttributeTypeS},
				{AttributeName: aws.String("namespace"), AttributeType: types.ScalarAttributeTypeS},
			},
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
				IndexName: aws.String("namespace-index"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
				KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("namespace"), KeyType: types.KeyTypeHash}},
			}},
		})
		silent := e.Options()
		broken := newWire(e)
		broken.breaks(func(string, []byte) (*http.Response, bool) { return nil, true })
		silent.Transport = broken
		forbidden := e.Options()
		w := newWire(e)
		w.breaks(func(call string, _ []byte) (*http.Response, bool) {
			if call == "DescribeTable" {
				return answer(http.StatusBadRequest, "AccessDeniedException", "not for you", nil), false
			}
			return nil, false
		})
		forbidden.Transport = w
		for _, test := range []struct {
			name    string
			options dynamodb.Options
			want    []string
		}{
			{"missing", missing, []string{"no table " + missing.Project + "-jobs", missing.Project + "-events", "deploy infra/"}},
			{"wrong key", wrong, []string{wrong.Project + "-state", "its key is (other) instead of (pk, sk)"}},
			{"numbers for names", numbers, []string{numbers.Project + "-job-templates", "template_name is of type N instead of S"}},
			{"keys only", narrow, []string{narrow.Project + "-webhooks", "namespace-index projects KEYS_ONLY instead of ALL"}},
			{"no answer", silent, []string{"DynamoDB does not answer", "check the credentials"}},
			{"forbidden", forbidden, []string{forbidden.Project + "-jobs", "may not read", "policy"}},
		} {
			_, err := dynamodb.Open(t.Context(), test.options)
			if err == nil {
				t.Errorf("%s: it was opened", test.name)
				continue
			}
			if test.name == "no answer" && strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: the same is said of every table: %v", test.name, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: the error does not say %q: %v", test.name, want, err)
				}
			}
		}
	})
}

// makeWrongTable makes a table with another key.
func makeWrongTable(t *testing.T, e *dynamotest.Engine, name string) {
	t.Helper()
	makeTableOf(t, e, &sdk.CreateTableInput{
		TableName:            &name,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("other"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("other"), AttributeType: types.ScalarAttributeTypeS}},
	})
}

// makeTableOf makes a table that is paid by request.
func makeTableOf(t *testing.T, e *dynamotest.Engine, table *sdk.CreateTableInput) {
	t.Helper()
	loaded, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-2"), config.WithCredentialsProvider(dynamotest.Credentials))
	if err != nil {
		t.Fatal(err)
	}
	client := sdk.NewFromConfig(loaded, func(o *sdk.Options) {
		o.BaseEndpoint, o.HTTPClient = aws.String(e.URL), &http.Client{Transport: e.Transport}
	})
	table.BillingMode = types.BillingModePayPerRequest
	if _, err := client.CreateTable(t.Context(), table); err != nil {
		t.Fatal(err)
	}
}

// TestTheShardsStay opens a store with other shards than it was made with.
func TestTheShardsStay(t *testing.T) {
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	options := e.Options()
	first, err := dynamodb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	made := insert(t, first, submission("k"))[0].Job
	options.Shards = dynamodb.Shards{Index: 7, List: 7, Guard: 7, Tail: 7}
	second, err := dynamodb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if waiting, err := second.Waiting(t.Context(), made.Spec.Class, nowhere, 10); err != nil || len(waiting) != 1 {
		t.Errorf("%d waiting jobs instead of 1, %v", len(waiting), err)
	}
	options.Shards.Guard = 1000
	if _, err := dynamodb.Open(t.Context(), options); err == nil {
		t.Error("1,000 shards were taken")
	}
}

// TestExpiredItemsAreNotShown looks at a record whose time to live is over, and
// that DynamoDB has yet to remove.
func TestExpiredItemsAreNotShown(t *testing.T) {
	e := dynamotest.Start(t, dynamotest.Dynoxide)
	options := e.Options()
	s, err := dynamodb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	j := insert(t, s, submission(""))[0].Job
	ended := change(t, j, job.Event{Kind: job.Stopped, StopReason: job.ByCancel})
	commit(t, s, ended)
	options.Now = func() time.Time { return ended.Job.ExpiresAt().Add(31 * 24 * time.Hour) }
	later, err := dynamodb.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[*dynamodb.Store]int{s: 1, later: 0} {
		found, err := at.JobsByID(t.Context(), []job.ID{j.ID})
		if err != nil {
			t.Fatal(err)
		}
		page, err := at.List(t.Context(), store.ListQuery{Namespaces: []string{"team-a"}, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		_, missing := at.Job(t.Context(), j.ID)
		if len(found) != want || len(page.Jobs) != want || errors.Is(missing, store.ErrNotFound) != (want == 0) {
			t.Errorf("%d and %d records are shown instead of %d (%v)", len(found), len(page.Jobs), want, missing)
		}
	}
}
