package sqlite

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/gco-project/gco/internal/job"
)

// verify recounts everything that the writes keep beside the records, and
// fails the test where it is not what a recount gives.
func verify(t testing.TB, s *Store) {
	t.Helper()
	err := s.readers.use(t.Context(), func(r *session) error {
		same(t, r, "integrity", `PRAGMA integrity_check`, `SELECT 'ok'`)
		for _, pair := range recounts {
			same(t, r, pair.what, pair.kept, pair.recount)
		}
		return verifyKeys(t, r)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func same(t testing.TB, r *session, what, kept, recount string) {
	t.Helper()
	got, want := rows(t, r, kept), rows(t, r, recount)
	if len(got) != len(want) {
		t.Errorf("%s: %d rows are kept, a recount gives %d", what, len(got), len(want))
		return
	}
	for i := range got {
		if !reflect.DeepEqual(got[i], want[i]) {
			t.Errorf("%s: kept is %v, a recount gives %v", what, got[i], want[i])
			return
		}
	}
}

func rows(t testing.TB, r *session, text string, args ...any) [][]any {
	t.Helper()
	result, err := r.conn.QueryContext(t.Context(), text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer result.Close()
	columns, err := result.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]any
	for result.Next() {
		row := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range row {
			into[i] = &row[i]
		}
		if err := result.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := result.Err(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return all
}

// verifyKeys computes the index keys of every record again.
func verifyKeys(t testing.TB, r *session) error {
	t.Helper()
	row := newRecordScan()
	var class, stage, rank int64
	var stageAt, queue, lane, unwanted, overdueAt any
	into := append(row.into[:], &class, &rank, &stage, &stageAt, &queue, &lane, &unwanted, &overdueAt)
	text := `SELECT ` + recordColumns + `, class, rank, stage, stage_at, queue, lane, unwanted, overdue_at FROM jobs`
	return r.eachOf(text, nil, func(scan func(...any) error) error {
		if err := scan(into...); err != nil {
			return err
		}
		j, err := row.job()
		if err != nil {
			return err
		}
		got := keys{stage, stageAt, queue, lane, unwanted, overdueAt}
		want := keysOf(&j, class)
		if want.stage == stageLater && got.stage == stageWaiting {
			// Wake has moved it on.
			j.NotBefore = j.UpdatedAt
			want = keysOf(&j, class)
		}
		if got != want || rank != rankOf(j.Spec.Priority) {
			return fmt.Errorf("the keys of job %s, which is %s, are %v instead of %v", j.ID, j.State, got, want)
		}
		if !j.State.Valid() || (j.State == job.Queued) != (j.Region == "" && !j.State.Terminal()) {
			return fmt.Errorf("job %s is %s in region %q", j.ID, j.State, j.Region)
		}
		return nil
	})
}
