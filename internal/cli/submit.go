package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
	"github.com/gco-project/gco/internal/job"
)

type submitOptions struct {
	*Program
	output format
	files  []string
	wait   bool
	logs   bool
	key    string

	after      []string
	template   string
	version    int64
	parameters parameterFlags

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
		Use:   "submit FILE|-... | --template NAME",
		Short: "Submit jobs",
		Long: `Submit hands Kubernetes Jobs (batch/v1, YAML or JSON) to GCO, which finds the
region. A file may hold several documents; each is a job of its own. What a flag
says goes for every job of the call; the same can be said in the manifest, by
annotations gco.dev/... One that is refused does not keep the others out: they
are submitted, and the error, with its exit code, says how many.

With --template the job comes from a template in the place of a file; what a
flag says stands above what the template says.

With --after the job begins only when others have ended: each becomes a pipeline
of one step, and pipelines are what is printed.

A job that was accepted is on disk. Each call makes a new idempotency key for
each job, so that a lost answer is asked for again without a second job; with
a key of your own the same call can be made again by you.`,
		Example: `  gco submit examples/hello.yaml
  gco submit train.yaml --wait --logs
  gco submit train.yaml --region us-east-1 --region us-west-2 --capacity-type spot --max-price 12
  gco submit *.yaml --namespace research --priority 10 --label team=vision
  gco submit --template sweep -p rate=0.01 -p run=first --wait
  generate-manifest | gco submit - -o name`,
		Args: opts.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.files, opts.set = args, cmd.Flags().Changed
			return run(cmd.Context(), opts)
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	opts.register(cmd.Flags())
	completeWith(cmd, "after", p.jobIDs(func(s job.State) bool { return !s.Terminal() }))
	completeWith(cmd, "template", p.templateNames())
	completeWith(cmd, "param", p.parameterNames(func([]string) string { return opts.template }))
	completeWith(cmd, "region", p.regionNames())
	completeWith(cmd, "avoid-region", p.regionNames())
	complete(cmd, "capacity-type", "on-demand", "spot")
	complete(cmd, "on-region-lost", "requeue", "fail", "wait")
	addOutput(cmd, &opts.output)
	return cmd
}

// args takes files, or a template in their place.
func (o *submitOptions) args(_ *cobra.Command, args []string) error {
	switch {
	case o.template != "" && len(args) > 0:
		return fmt.Errorf("unexpected argument %q: the manifest comes from --template", args[0])
	case o.template == "" && len(args) == 0:
		return errors.New("FILE or --template is missing")
	case o.template == "" && (o.version != 0 || o.parameters.file != "" || len(o.parameters.pairs) > 0):
		return errors.New("--template-version, --param and --parameters need --template")
	case len(o.after) > 0 && o.logs:
		return errors.New("--logs can't follow a job that waits for others; use --wait, and gco jobs logs")
	}
	return nil
}

func (o *submitOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.template, "template", "", "submit a job from the template of this `NAME`")
	flags.Int64Var(&o.version, "template-version", 0, "`NUMBER` of the template's version (default the newest)")
	o.parameters.register(flags)
	flags.StringSliceVar(&o.after, "after", nil, "begin when this `JOB` has succeeded, or JOB:failed, or JOB:finished (whatever became of it); may be repeated")
	flags.BoolVarP(&o.wait, "wait", "w", false, "wait until the jobs have finished; exit code 6 if one does not succeed")
	flags.BoolVar(&o.logs, "logs", false, "print what the jobs write, until they have finished; implies --wait")
	flags.StringVarP(&o.submission.Namespace, "namespace", "n", "", "`NAMESPACE` for manifests that have none")
	flags.IntVar(&o.priority, "priority", 0, "`NUMBER` from 0 to 1000; higher goes first")
	flags.StringSliceVarP(&o.labels, "label", "l", nil, "label for the jobs, `KEY=VALUE`; may be repeated")
	flags.StringSliceVar(&o.placement.Regions, "region", nil, "`REGION` that is allowed; may be repeated (default all)")
	flags.StringSliceVar(&o.placement.AvoidRegions, "avoid-region", nil, "`REGION` that is not allowed; may be repeated")
	flags.StringVar(&o.placement.CapacityType, "capacity-type", "", "only this kind of capacity, `on-demand|spot`")
	flags.Float64Var(&o.placement.MaxPricePerHour, "max-price", 0, "most that the whole job may cost an hour, as an `AMOUNT` in the currency of the configured prices")
	flags.StringVar(&o.submission.Model, "model", "", "`NAME[@VERSION|@TAG]` of the model that the job reads")
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

// keyOf is the idempotency key of the n-th of the things that one call makes;
// a new one where none was given.
func keyOf(key string, n, of int) string {
	switch {
	case key == "":
		return uuid.NewString()
	case of == 1:
		return key
	default:
		return fmt.Sprintf("%s-%d", key, n+1)
	}
}

func runSubmit(ctx context.Context, opts *submitOptions) error {
	submission, err := opts.options()
	if err != nil {
		return err
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	requests, err := opts.requests(ctx, c, submission)
	if err != nil {
		return err
	}
	if len(opts.after) > 0 {
		return opts.submitAfter(ctx, c, requests)
	}
	accepted, refused := opts.submitAll(ctx, c, requests)
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

// submitRequest is one job to submit; name says where it comes from.
type submitRequest struct {
	name string
	api.Submission
}

// requests are the jobs of a call: one a document, or one from a template.
func (o *submitOptions) requests(ctx context.Context, c *client.Client, options api.Submission) ([]submitRequest, error) {
	if o.template != "" {
		return o.fromTemplate(ctx, c, options)
	}
	manifests, err := documents(o.In, o.files)
	if err != nil {
		return nil, err
	}
	requests := make([]submitRequest, len(manifests))
	for i, manifest := range manifests {
		options.Manifest = asJSON(string(manifest.text))
		requests[i] = submitRequest{manifest.name, options}
	}
	return requests, nil
}

// fromTemplate names the version whose parameters it has read. With a key of
// the user's own it names none that the user did not: the same call has to
// mean the same request although the template was updated between.
func (o *submitOptions) fromTemplate(ctx context.Context, c *client.Client, options api.Submission) ([]submitRequest, error) {
	of, err := templateAt(ctx, c, o.template, o.version)
	if o.key != "" && client.Is(err, api.ProblemNotFound) {
		// What was submitted with the key is answered all the same.
		of, err = lastTemplate(ctx, c, o.template, err)
	}
	if err != nil {
		return nil, err
	}
	options.Template = &api.TemplateRef{Name: of.Name, Version: of.Version}
	if o.key != "" {
		options.Template.Version = o.version
	}
	options.Parameters, err = o.parameters.values(o.In, of)
	return []submitRequest{{"template " + of.Name, options}}, err
}

// submitAll submits each request by itself: one that is refused does not keep
// the others out. It ends early where no server answers.
func (o *submitOptions) submitAll(ctx context.Context, c *client.Client, requests []submitRequest) ([]api.Job, error) {
	var accepted []api.Job
	var refused []error
	for i, request := range requests {
		j, replayed, err := c.Submit(ctx, request.Submission, keyOf(o.key, i, len(requests)))
		if err != nil {
			refused = append(refused, fmt.Errorf("submitting %s: %w", request.name, err))
			if client.Status(err) == 0 {
				break
			}
			continue
		}
		if replayed {
			fmt.Fprintf(o.Err, "%s was submitted before with this key, as job %s\n", request.name, j.ID)
		}
		accepted = append(accepted, j)
	}
	if err := errors.Join(refused...); err != nil && len(requests) > 1 {
		return accepted, fmt.Errorf("%d of %d submitted; %w", len(accepted), len(requests), err)
	}
	return accepted, errors.Join(refused...)
}
