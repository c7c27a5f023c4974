package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

func newSchedules(p *Program) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "schedules",
		Aliases: []string{"schedule"},
		Short:   "Have jobs and pipelines submitted by the clock",
		Example: "  gco schedules apply examples/schedule.yaml\n  gco schedules get nightly\n  gco schedules run nightly",
	}
	cmd.AddCommand(
		newSchedulesList(p, runSchedulesList),
		newSchedulesGet(p, runSchedulesGet),
		newSchedulesApply(p, runSchedulesApply),
		newSchedulesPause(p, runSchedulesChange),
		newSchedulesResume(p, runSchedulesChange),
		newSchedulesRun(p, runSchedulesChange),
		newSchedulesDelete(p, runSchedulesDelete),
	)
	return cmd
}

// scheduleView is how schedules look in a list.
func scheduleView(p *Program) view[api.Schedule] {
	return view[api.Schedule]{
		name: nameOfSchedule,
		columns: []column[api.Schedule]{
			{header: "NAMESPACE", cell: func(s api.Schedule) string { return s.Namespace }},
			{header: "NAME", cell: func(s api.Schedule) string { return s.Name }},
			{header: "CRON", cell: func(s api.Schedule) string { return s.Cron }},
			{header: "TIME ZONE", cell: func(s api.Schedule) string { return s.TimeZone }},
			{
				header: "NEXT",
				cell:   func(s api.Schedule) string { return stamp(s.Next) },
				shown: func(s api.Schedule) string {
					if s.Paused {
						return "paused"
					}
					return dash(p.when(s.Next))
				},
			},
			{header: "PAUSED", cell: func(s api.Schedule) string { return yesNo(s.Paused) }},
			{header: "LAST RUN", cell: lastRun, shown: func(s api.Schedule) string { return dash(lastRun(s)) }, wide: true},
		},
	}
}

func nameOfSchedule(s api.Schedule) string { return s.Namespace + "/" + s.Name }

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func lastRun(s api.Schedule) string {
	if len(s.Runs) == 0 {
		return ""
	}
	return s.Runs[0].Outcome + " " + stamp(&s.Runs[0].At)
}

// addNamespace gives a command for schedules the flag that says where they
// are.
func addNamespace(flags *pflag.FlagSet, namespace *string) {
	flags.StringVarP(namespace, "namespace", "n", "", "`NAMESPACE` of schedules that are named without one (default \"default\")")
}

// scheduleAt reads NAME, or NAMESPACE/NAME as lists print it.
func scheduleAt(text, namespace string) (in, name string) {
	if in, name, both := strings.Cut(text, "/"); both {
		return in, name
	}
	return inDefault(namespace), text
}

// scheduleNames completes names of schedules.
func (p *Program) scheduleNames() completer {
	return p.ask(func(ctx context.Context, c *client.Client, _ []string) ([]string, error) {
		list, err := c.Schedules(ctx, "", 100, "")
		var names []string
		for _, s := range list.Items {
			names = append(names, cobra.CompletionWithDesc(nameOfSchedule(s), s.Cron+", "+s.TimeZone))
		}
		return names, err
	})
}
