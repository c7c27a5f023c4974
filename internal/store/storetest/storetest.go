// Package storetest is the conformance suite of store: every sentence of the
// contract as a test. It knows no driver; each driver's tests call Run, and
// drivers_test.go says which drivers there are and fails when one did not run.
package storetest

import (
	"context"
	"testing"

	"github.com/gco-project/gco/internal/store"
)

// T is what the suite needs of a test; *testing.T and *rapid.T have it.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(cleanup func())
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Opener opens an empty store and closes it when the test ends.
type Opener func(t T) store.Store

// suite lists every test, by the part of the contract that it holds a driver
// to.
var suite = []struct {
	name string
	run  func(*testing.T, Opener)
}{
	{"Insert", testInsert},
	{"InsertKeepsItemsApart", testInsertApart},
	{"InsertReplays", testReplay},
	{"InsertFullNamespace", testFull},
	{"InsertTakenID", testTakenID},
	{"InsertCancelled", testCancelled},
	{"Commit", testCommit},
	{"CommitKeepsItemsApart", testCommitApart},
	{"CommitGuard", testGuard},
	{"CommitEveryField", testEveryField},
	{"SetLogs", testSetLogs},
	{"Delete", testDelete},
	{"DeleteKeys", testDeleteKeys},
	{"NotFound", testNotFound},
	{"JobsByID", testJobsByID},
	{"List", testList},
	{"ListPages", testListPages},
	{"ListRareMatch", testListRare},
	{"WaitingClasses", testWaitingClasses},
	{"Waiting", testWaiting},
	{"Wake", testWake},
	{"Ahead", testAhead},
	{"Promises", testPromises},
	{"Placed", testPlaced},
	{"PlacedSince", testPlacedSince},
	{"Attempts", testAttempts},
	{"Unwanted", testUnwanted},
	{"Suspended", testSuspended},
	{"Overdue", testOverdue},
	{"Expired", testExpired},
	{"OpenSession", testOpenSession},
	{"Renew", testRenew},
	{"ExpireSession", testExpireSession},
	{"SetSchedulable", testSetSchedulable},
	{"WriteOff", testWriteOff},
	{"SetBackoff", testSetBackoff},
	{"Regions", testRegions},
	{"Events", testEvents},
	{"EventFilters", testEventFilters},
	{"EventsMoveOn", testEventsMoveOn},
	{"RegionEvents", testRegionEvents},
	{"EventsForgotten", testEventsForgotten},
	{"Counts", testCounts},
	{"Throughput", testThroughput},
	{"OldestWaiting", testOldestWaiting},
	{"Tokens", testTokens},
	{"Templates", testTemplates},
	{"LargeTemplate", testLargeTemplate},
	{"TemplateNotFound", testTemplateNotFound},
	{"DeleteTemplate", testDeleteTemplate},
	{"ListTemplates", testListTemplates},
	{"TemplateVersions", testTemplateVersions},
	{"Pipelines", testPipelines},
	{"PipelineKeys", testPipelineKeys},
	{"PipelineLists", testPipelineLists},
	{"DuePipelines", testDuePipelines},
	{"PipelineEvents", testPipelineEvents},
	{"Schedules", testSchedules},
	{"ScheduleLists", testScheduleLists},
	{"DueSchedules", testDueSchedules},
	{"ScheduleEvents", testScheduleEvents},
	{"Endpoints", testEndpoints},
	{"EndpointLists", testEndpointLists},
	{"EndpointPlans", testEndpointPlans},
	{"Observed", testObserved},
	{"EndpointMarks", testEndpointMarks},
	{"Webhooks", testWebhooks},
	{"WebhookEvents", testWebhookEvents},
	{"DeleteUndispatched", testUndispatched},
	{"Dispatch", testDispatch},
	{"ClaimDeliveries", testClaim},
	{"DeliveryLane", testLane},
	{"DeliveryTries", testTries},
	{"Redeliver", testRedeliver},
	{"Deliveries", testDeliveries},
	{"PruneDeliveries", testPruneDeliveries},
	{"LeaderLease", testLeaderLease},
	{"Incarnation", testIncarnation},
	{"Reincarnate", testReincarnate},
	{"RaceForKey", testRaceForKey},
	{"RaceForRoom", testRaceForRoom},
	{"RaceForJob", testRaceForJob},
	{"RaceForLease", testRaceForLease},
	{"RaceForSession", testRaceForSession},
	{"RaceAgainstGuard", testRaceAgainstGuard},
	{"RaceForTemplate", testRaceForTemplate},
	{"RaceForPipeline", testRaceForPipeline},
	{"RaceForPipelineKey", testRaceForPipelineKey},
	{"RaceForEndpoint", testRaceForEndpoint},
	{"RaceForDelivery", testRaceForDelivery},
	{"FollowWhileWriting", testFollow},
	{"Lanes", testLanes},
	{"Recount", testRecount},
}

// Run holds a driver to the whole contract.
func Run(t *testing.T, open Opener) {
	for _, test := range suite {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(t, open)
		})
	}
}
