package cli

import (
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
)

func newJobs(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "jobs",
		Aliases: []string{"job"},
		Short:   "Look at jobs and change what becomes of them",
		Example: "  gco jobs list --state running\n  gco jobs get JOB",
	}
	cmd.AddCommand(
		newJobsList(p, runJobsList),
		newJobsGet(p, runJobsGet),
		newJobsLogs(p, runJobsLogs),
		newJobsEvents(p, runJobsEvents),
		newJobsPods(p, runJobsPods),
		newJobsExplain(p, runJobsExplain),
		newJobsCancel(p, runJobsCancel),
		newJobsRetry(p, runJobsRetry),
		newJobsWait(p, runJobsWait),
		newJobsDelete(p, runJobsDelete),
	)
	return cmd
}

// jobView is how jobs look in a list.
func jobView(p *Program) view[api.Job] {
	return view[api.Job]{
		name: func(j api.Job) string { return j.ID },
		columns: []column[api.Job]{
			{header: "ID", cell: func(j api.Job) string { return j.ID }},
			{header: "NAMESPACE", cell: func(j api.Job) string { return j.Namespace }},
			{header: "NAME", cell: func(j api.Job) string { return j.Name }},
			{header: "STATE", cell: func(j api.Job) string { return j.State }},
			{header: "REGION", cell: func(j api.Job) string { return j.Region }, shown: func(j api.Job) string { return dash(j.Region) }},
			{header: "ATTEMPT", cell: func(j api.Job) string { return strconv.Itoa(j.Attempt) }},
			{
				header: "SUBMITTED",
				cell:   func(j api.Job) string { return stamp(&j.SubmittedAt) },
				shown:  func(j api.Job) string { return age(p.Clock, j.SubmittedAt) + " ago" },
			},
			{header: "REASON", cell: func(j api.Job) string { return j.Reason }, shown: because, wide: true},
		},
	}
}

// because says why a job is as it is, in a few words: the reason's code, and
// what is being waited for.
func because(j api.Job) string {
	switch {
	case j.RegionLostAt != nil:
		return "its region is lost; waiting for its return"
	case j.Intent == "stop" && j.FinishedAt == nil:
		return "stopping: " + j.StopReason
	case j.Intent == "move":
		return "moving to another region"
	default:
		return dash(j.Reason)
	}
}

// took is how long a job ran, or has run so far.
func (p *Program) took(j api.Job) time.Duration {
	switch {
	case j.StartedAt == nil:
		return 0
	case j.FinishedAt != nil:
		return j.FinishedAt.Sub(*j.StartedAt)
	default:
		return p.Clock.Since(*j.StartedAt)
	}
}
