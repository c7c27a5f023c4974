package recovery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gco-project/gco/internal/aws/awstest"
)

// fake answers the part of DynamoDB's API that is about backups, with the
// statuses and errors that its reference describes. What takes minutes there
// takes so many questions here.
type fake struct {
	mu     sync.Mutex
	now    time.Time
	tables map[string]*fakeTable
	made   []*fakeBackup
	// slow is how often something has to be asked for until it is ready.
	slow int
	// denied operations are not allowed.
	denied string
	calls  []string
	url    string
}

type fakeTable struct {
	asked    int
	pitr     bool
	earliest time.Time
	ttl      string
	// from says what it was restored from.
	from string
}

type fakeBackup struct {
	arn, name, table string
	made             time.Time
	asked            int
}

func startFake(t *testing.T, project string) *fake {
	t.Helper()
	f := &fake{now: time.Date(2030, 1, 6, 12, 0, 0, 0, time.UTC), tables: map[string]*fakeTable{}, slow: 2}
	for i, table := range tablesOf(project, nil) {
		f.tables[table.full] = &fakeTable{asked: 9, pitr: true, earliest: f.now.Add(-time.Duration(30-i) * 24 * time.Hour)}
	}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	f.url = server.URL
	awstest.Environment(t, "tester", "secret-of-the-test", "us-east-2")
	return f
}

// fault is an error as DynamoDB answers it.
type fault struct{ kind, message string }

type request struct {
	TableName, BackupName, BackupArn, TargetTableName, SourceTableName, BackupType string
	RestoreDateTime                                                                float64
	ExclusiveStartBackupArn                                                        string
	PointInTimeRecoverySpecification                                               struct{ PointInTimeRecoveryEnabled bool }
	TimeToLiveSpecification                                                        struct {
		AttributeName string
		Enabled       bool
	}
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	operation := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810.")
	var in request
	err := json.NewDecoder(r.Body).Decode(&in)
	f.calls = append(f.calls, operation+" "+in.TableName+in.TargetTableName)
	answer, wrong := f.answer(operation, in)
	if operation == f.denied {
		wrong = &fault{"com.amazon.coral.service#AccessDeniedException", "User is not authorized to perform: dynamodb:" + operation}
	}
	if err != nil {
		wrong = &fault{"SerializationException", err.Error()}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	if wrong != nil {
		w.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"__type": wrong.kind, "message": wrong.message}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func known(kind string) string { return "com.amazonaws.dynamodb.v20120810#" + kind }

func (f *fake) answer(operation string, in request) (map[string]any, *fault) {
	switch operation {
	case "CreateBackup":
		return f.create(in)
	case "ListBackups":
		return f.list(in)
	case "DescribeBackup", "DeleteBackup":
		return f.backup(operation, in)
	case "DescribeContinuousBackups":
		return f.continuous(in)
	case "RestoreTableFromBackup", "RestoreTableToPointInTime":
		return f.restore(in)
	case "DescribeTable", "UpdateContinuousBackups", "UpdateTimeToLive":
		return f.table(operation, in)
	}
	return nil, &fault{"UnknownOperationException", operation}
}

func (f *fake) create(in request) (map[string]any, *fault) {
	if f.tables[in.TableName] == nil {
		return nil, &fault{known("TableNotFoundException"), "Table not found: " + in.TableName}
	}
	b := &fakeBackup{
		arn: fmt.Sprintf("arn:aws:dynamodb:us-east-2:1:table/%s/backup/%d", in.TableName, len(f.made)), name: in.BackupName, table: in.TableName, made: f.now,
	}
	f.made = append(f.made, b)
	return map[string]any{"BackupDetails": f.details(b)}, nil
}

// status becomes ready after it was asked for often enough.
func (f *fake) status(asked *int, waiting, ready string) string {
	if *asked++; *asked > f.slow {
		return ready
	}
	return waiting
}

func (f *fake) details(b *fakeBackup) map[string]any {
	return map[string]any{
		"BackupArn": b.arn, "BackupName": b.name, "BackupStatus": f.status(&b.asked, "CREATING", "AVAILABLE"), "BackupType": "USER",
		"BackupCreationDateTime": float64(b.made.Unix()), "BackupSizeBytes": 1000, "TableName": b.table,
	}
}

// list answers a page of one.
func (f *fake) list(in request) (map[string]any, *fault) {
	var summaries []map[string]any
	for _, b := range f.made {
		if b.table != in.TableName {
			continue
		}
		if len(summaries) == 1 {
			return map[string]any{"BackupSummaries": summaries, "LastEvaluatedBackupArn": summaries[0]["BackupArn"]}, nil
		}
		if b.arn > in.ExclusiveStartBackupArn {
			summaries = append(summaries, f.details(b))
		}
	}
	return map[string]any{"BackupSummaries": summaries}, nil
}

func (f *fake) backup(operation string, in request) (map[string]any, *fault) {
	i := slices.IndexFunc(f.made, func(b *fakeBackup) bool { return b.arn == in.BackupArn })
	if i < 0 {
		return nil, &fault{known("BackupNotFoundException"), "Backup not found: " + in.BackupArn}
	}
	b := f.made[i]
	if operation == "DeleteBackup" {
		f.made = slices.Delete(f.made, i, i+1)
	}
	return map[string]any{"BackupDescription": map[string]any{"BackupDetails": f.details(b)}}, nil
}

func (f *fake) continuous(in request) (map[string]any, *fault) {
	t := f.tables[in.TableName]
	if t == nil {
		return nil, &fault{known("TableNotFoundException"), "Table not found: " + in.TableName}
	}
	status := map[string]any{"PointInTimeRecoveryStatus": "DISABLED"}
	if t.pitr {
		status = map[string]any{
			"PointInTimeRecoveryStatus":  "ENABLED",
			"EarliestRestorableDateTime": float64(t.earliest.Unix()), "LatestRestorableDateTime": float64(f.now.Add(-5 * time.Minute).Unix()),
		}
	}
	return map[string]any{"ContinuousBackupsDescription": map[string]any{
		"ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": status,
	}}, nil
}

func (f *fake) restore(in request) (map[string]any, *fault) {
	if f.tables[in.TargetTableName] != nil {
		return nil, &fault{known("TableAlreadyExistsException"), "Table already exists: " + in.TargetTableName}
	}
	t := &fakeTable{from: in.BackupArn}
	if in.SourceTableName != "" {
		t.from = fmt.Sprintf("%s at %s", in.SourceTableName, time.Unix(int64(in.RestoreDateTime), 0).UTC().Format(time.RFC3339))
	}
	f.tables[in.TargetTableName] = t
	return map[string]any{"TableDescription": map[string]any{"TableName": in.TargetTableName, "TableStatus": "CREATING"}}, nil
}

func (f *fake) table(operation string, in request) (map[string]any, *fault) {
	t := f.tables[in.TableName]
	switch {
	case t == nil:
		return nil, &fault{known("ResourceNotFoundException"), "Requested resource not found: Table: " + in.TableName}
	case operation == "UpdateContinuousBackups":
		t.pitr = in.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled
		return map[string]any{}, nil
	case operation == "UpdateTimeToLive":
		t.ttl = in.TimeToLiveSpecification.AttributeName
		return map[string]any{}, nil
	}
	return map[string]any{"Table": map[string]any{"TableName": in.TableName, "TableStatus": f.status(&t.asked, "CREATING", "ACTIVE")}}, nil
}
