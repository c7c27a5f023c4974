package sqlite

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/job"
)

var (
	// explainable statements have a plan; the rest are pragmas and such.
	explainable = regexp.MustCompile(`(?i)^\s*(SELECT|WITH|INSERT|UPDATE|DELETE)\b`)
	// wholeTable is a walk over a table that may have millions of rows. A
	// walk over an index that begins at one end is none, if it has a LIMIT.
	wholeTable = regexp.MustCompile(`SCAN (jobs|events|keys|submissions|classes|pipelines|pipeline_documents|schedules|schedule_documents|j|e|c)\b`)
	sorting    = regexp.MustCompile(`TEMP B-TREE`)
)

// plan asks SQLite how it would run a statement.
func plan(t *testing.T, s *session, text string) []string {
	t.Helper()
	// The plan does not depend on the values, but each parameter needs one.
	args := make([]any, strings.Count(text, "?"))
	for i := range args {
		args[i] = "x"
	}
	var lines []string
	for _, row := range rows(t, s, "EXPLAIN QUERY PLAN "+text, args...) {
		detail, _ := row[3].(string)
		lines = append(lines, detail)
	}
	return lines
}

// TestPlans looks at the plan of every statement of the package: none walks a
// table that grows, and none sorts.
func TestPlans(t *testing.T) {
	s, err := OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, s)
	texts := append(slices.Clone(statements), mergeNamespaces(2), mergeNamespaces(maxMerged))
	checked := 0
	for _, text := range texts {
		if !explainable.MatchString(text) || strings.Contains(text, "bare") {
			continue
		}
		checked++
		for _, line := range plan(t, s.writer.session, text) {
			walk := wholeTable.MatchString(line) && !(strings.Contains(line, "INDEX") && strings.Contains(text, "LIMIT"))
			if walk || sorting.MatchString(line) {
				t.Errorf("%s\n%s", text, line)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d statements were checked", checked)
	}
}

// TestPlanOfQueues names the index that each list of the queue walks.
func TestPlanOfQueues(t *testing.T) {
	s, err := OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, s)
	for id, index := range map[stmt]string{
		stHeads:       "heads_order",
		stWaiting:     "jobs_queue (queue=? AND (rank,id)>(?,?))",
		stAhead:       "jobs_queue (queue=? AND (rank,id)<(?,?))",
		stPlaced:      "jobs_queue (queue=? AND (rank,id)>(?,?))",
		stRanked:      "jobs_queue (queue=?)",
		stClaimed:     "jobs_lane (lane=? AND id>?)",
		stAttempts:    "jobs_lane (lane=? AND id>?)",
		stUnwanted:    "jobs_unwanted (unwanted=? AND id>?)",
		stPlacedSince: "jobs_stage (stage=? AND stage_at<?)",
		stSuspended:   "jobs_stage (stage=? AND stage_at<?)",
		stDue:         "jobs_stage (stage=? AND stage_at<?)",
		stOverdue:     "jobs_overdue (overdue_at<?)",
		stExpired:     "jobs_stage (stage=? AND stage_at<?)",
		stOldest:      "jobs_stage (stage=?",
		stJobEvents:   "events_subject (subject=?)",
		stHistory:     "events_subject (subject=?)",
	} {
		if lines := plan(t, s.writer.session, statements[id]); !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, index) }) {
			t.Errorf("%s\ndoes not use %s, but:\n%s", statements[id], index, strings.Join(lines, "\n"))
		}
	}
}

// TestStatesOfSchema holds the CHECK of the schema to the states of package
// job.
func TestStatesOfSchema(t *testing.T) {
	s, err := OpenMemory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer closeNow(t, s)
	schema, _ := rows(t, s.writer.session, "SELECT sql FROM sqlite_schema WHERE name = 'jobs'")[0][0].(string)
	list := regexp.MustCompile(`CHECK \(state IN \(([^)]*)\)\)`).FindStringSubmatch(schema)
	if list == nil {
		t.Fatal("the column state has no CHECK")
	}
	var states []job.State
	for quoted := range strings.SplitSeq(list[1], ", ") {
		states = append(states, job.State(strings.Trim(quoted, "'")))
	}
	if !slices.Equal(states, job.States) {
		t.Errorf("the schema allows %v, package job has %v", states, job.States)
	}
	insertOne(t, s)
	if _, err := s.writer.session.conn.ExecContext(t.Context(), "UPDATE jobs SET state = 'lost'"); err == nil {
		t.Error("the schema takes any state")
	}
}
