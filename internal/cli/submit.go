package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type submitOptions struct {
	*Program
	output format
	files  []string
	wait   bool
	logs   bool
	key    string

	submission api.Submission
	placement  api.Placement
	labels     []string
	priority   int
	retries    int
	deadline   time.Duration
	ttl        time.Duration
	lostLimit  time.Duration
	// set tells which flags were given, since zero is a value of some.
	set func(flag string) bool
}

func newSubmit(p *Program, run func(context.Context, *submitOptions) error) *cobra.Command {
	opts := &submitOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "submit FILE|-...",
		Short: "Submit jobs",
		Long: `Submit hands Kubernetes Jobs (batch/v1, YAML or JSON) to GCO, which finds the
region. A file may hold several documents; each is a job of its own. What a flag
says goes for every job of the call; the same can be said in the manifest, by
annotations gco.dev/... One that is refused does not keep the others out: they
are submitted, and the error, with its exit code, says how many.

A job that was accepted is on disk. Each call makes a new idempotency key for
each job, so that a lost answer is asked for again without a second job; with
a key of your own the same call can be made again by you.`,
		Example: `  gco submit examples/hello.yaml
  gco submit train.yaml --wait --logs
  gco submit train.yaml --region us-east-1 --region us-west-2 --capacity-type spot --max-price 12
  gco submit *.yaml --namespace research --priority 10 --label team=vision
  generate-manifest | gco submit - -o name`,
		Args: some("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.files, opts.set = args, cmd.Flags().Changed
			return run(cmd.Context(), opts)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	opts.register(cmd.Flags())
	completeWith(cmd, "region", p.regionNames())
	completeWith(cmd, "avoid-region", p.regionNames())
	complete(cmd, "capacity-type", "on-demand", "spot")
	complete(cmd, "on-region-lost", "requeue", "fail", "wait")
	addOutput(cmd, &opts.output)
	return cmd
}

func (o *submitOptions) register(flags *pflag.FlagSet) {
	flags.BoolVarP(&o.wait, "wait", "w", false, "wait until the jobs have finished; exit code 6 if one does not succeed")
	flags.BoolVar(&o.logs, "logs", false, "print what the jobs write, until they have finished; implies --wait")
	flags.StringVarP(&o.submission.Namespace, "namespace", "n", "", "`NAMESPACE` for manifests that have none")
	flags.IntVar(&o.priority, "priority", 0, "`NUMBER` from 0 to 1000; higher goes first")
	flags.StringSliceVarP(&o.labels, "label", "l", nil, "label for the jobs, `KEY=VALUE`; may be repeated")
	flags.StringSliceVar(&o.placement.Regions, "region", nil, "`REGION` that is allowed; may be repeated (default all)")
	flags.StringSliceVar(&o.placement.AvoidRegions, "avoid-region", nil, "`REGION` that is not allowed; may be repeated")
	flags.StringVar(&o.placement.CapacityType, "capacity-type", "", "only this kind of capacity, `on-demand|spot`")
	flags.Float64Var(&o.placement.MaxPricePerHour, "max-price", 0, "most that the whole job may cost an hour, as an `AMOUNT` in the currency of the configured prices")
	flags.IntVar(&o.retries, "retries", 0, "`TIMES` that a job whose workload failed is run again")
	flags.DurationVar(&o.deadline, "deadline", 0, "fail a job that has not finished this `DURATION` after its submission")
	flags.DurationVar(&o.ttl, "ttl", 0, "keep the record this `DURATION` after the end (default 168h)")
	flags.StringVar(&o.submission.OnRegionLost, "on-region-lost", "", "what becomes of a job whose region is lost, `requeue|fail|wait` (default requeue)")
	flags.DurationVar(&o.lostLimit, "on-region-lost-limit", 0, "with --on-region-lost wait: fail after this `DURATION` (default 1h)")
	flags.StringVar(&o.key, "idempotency-key", "", "`KEY` that makes a repeated call answer with the same jobs (default: a new one each call)")
}

// options turns the flags into a submission without its manifest.
func (o *submitOptions) options() (api.Submission, error) {
	s := o.submission
	labels, err := keyValues("label", o.labels)
	if err != nil {
		return s, err
	}
	if len(labels) > 0 {
		s.Labels = labels
	}
	if o.set("priority") {
		s.Priority = &o.priority
	}
	if o.set("retries") {
		s.Retries = &o.retries
	}
	for _, d := range []struct {
		flag  string
		value time.Duration
		field *string
	}{
		{"deadline", o.deadline, &s.Deadline},
		{"ttl", o.ttl, &s.TTLAfterFinished},
		{"on-region-lost-limit", o.lostLimit, &s.OnRegionLostLimit},
	} {
		if o.set(d.flag) {
			*d.field = d.value.String()
		}
	}
	for _, flag := range []string{"region", "avoid-region", "capacity-type", "max-price"} {
		if o.set(flag) {
			s.Placement = &o.placement
		}
	}
	return s, nil
}

// keyOf is the idempotency key of the n-th job of a call.
func (o *submitOptions) keyOf(n, of int) string {
	switch {
	case o.key == "":
		return uuid.NewString()
	case of == 1:
		return o.key
	default:
		return fmt.Sprintf("%s-%d", o.key, n+1)
	}
}

func runSubmit(ctx context.Context, opts *submitOptions) error {
	submission, err := opts.options()
	if err != nil {
		return err
	}
	manifests, err := documents(opts.In, opts.files)
	if err != nil {
		return err
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	accepted, refused := opts.submitAll(ctx, c, submission, manifests)
	if len(accepted) == 0 {
		return refused
	}
	if !opts.wait && !opts.logs {
		if err := printList(opts.Program, opts.output, jobView(opts.Program), accepted, api.JobList{Items: accepted}); err != nil {
			return err
		}
		return refused
	}
	for _, j := range accepted {
		fmt.Fprintf(opts.Err, "%s is job %s\n", j.Name, j.ID)
	}
	return errors.Join(refused, opts.await(ctx, c, accepted, awaiting{output: opts.output, logs: opts.logs}))
}

// submitAll submits each manifest by itself: one that is refused does not keep
// the others out. It ends early where no server answers.
func (o *submitOptions) submitAll(ctx context.Context, c *client.Client, submission api.Submission, manifests []document) ([]api.Job, error) {
	var accepted []api.Job
	var refused []error
	for i, manifest := range manifests {
		text, err := json.Marshal(string(manifest.text))
		if err != nil {
			return accepted, fmt.Errorf("reading %s: %w", manifest.name, err)
		}
		submission.Manifest = text
		j, replayed, err := c.Submit(ctx, submission, o.keyOf(i, len(manifests)))
		if err != nil {
			refused = append(refused, fmt.Errorf("submitting %s: %w", manifest.name, err))
			if client.Status(err) == 0 {
				break
			}
			continue
		}
		if replayed {
			fmt.Fprintf(o.Err, "%s was submitted before with this key, as job %s\n", manifest.name, j.ID)
		}
		accepted = append(accepted, j)
	}
	if err := errors.Join(refused...); err != nil && len(manifests) > 1 {
		return accepted, fmt.Errorf("%d of %d submitted; %w", len(accepted), len(manifests), err)
	}
	return accepted, errors.Join(refused...)
}
