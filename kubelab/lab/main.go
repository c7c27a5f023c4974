package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/utils/clock"

	"github.com/gco-project/gco/kubelab/nodes"
)

// The exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

const usage = `Kubelab runs one real Kubernetes control plane in this process: etcd, the API
server, the controller manager and the scheduler. Its nodes are not real: those
of kind simulated play their pods, and those of kind process run the commands of
their pods on this host, as you. It listens on the loopback interface only.

When it is ready it prints one line of JSON: where the API server answers, the
kubeconfig, and where faults can be asked for. What a cluster knows is in --dir,
and is there again at the next start.

Usage:
  kubelab --dir DIRECTORY [flags]

Examples:
  kubelab --dir /tmp/lab
  kubelab --dir /tmp/lab --config nodes.yaml --kubeconfig /tmp/lab.kubeconfig
  curl -X PUT -d '{"stopped":true}' http://127.0.0.1:PORT/api

Flags:
`

// Main is the command. It returns the exit code of the process.
func Main(args []string, in io.Reader, out, errOut io.Writer) int {
	options, withParent, err := parse(args, errOut)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errOut, "kubelab: %v\n", err)
		return exitUsage
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if withParent {
		go func() {
			defer cancel()
			_, _ = io.Copy(io.Discard, in)
		}()
	}
	options.Ready, options.Clock = out, clock.RealClock{}
	if err := Run(ctx, options); err != nil {
		fmt.Fprintf(errOut, "kubelab: %v\n", err)
		return exitFailed
	}
	return 0
}

func parse(args []string, errOut io.Writer) (o Options, withParent bool, err error) {
	flags := pflag.NewFlagSet("kubelab", pflag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.Usage = func() {
		fmt.Fprint(errOut, usage)
		flags.PrintDefaults()
	}
	var config, region string
	flags.StringVar(&o.Dir, "dir", "", "`DIRECTORY` for everything that is kept")
	flags.StringVar(&config, "config", "", "`FILE` that says which nodes there are (default one node that runs commands)")
	flags.StringVar(&region, "region", "", "`NAME` that the nodes have as their region, in place of that in the file")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "`FILE` that is written for kubectl (default kubeconfig in --dir)")
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:0", "loopback `ADDRESS` of the API server; port 0 picks a free one")
	flags.StringVar(&o.Control, "control", "127.0.0.1:0", "loopback `ADDRESS` where faults are asked for")
	flags.DurationVar(&o.Toleration, "toleration", 5*time.Second, "how long pods stay on a node that is not ready")
	flags.DurationVar(&o.PodRuns, "pod-runs", time.Second, "how long a simulated pod runs that does not say it")
	flags.BoolVar(&withParent, "with-parent", false, "end when standard input ends")
	if err := flags.Parse(args); err != nil {
		return o, false, err
	}
	if flags.NArg() > 0 {
		return o, false, fmt.Errorf("%q is unexpected; see kubelab --help", flags.Arg(0))
	}
	o.Nodes = nodes.Default(region)
	if config != "" {
		if o.Nodes, err = readNodes(config); err != nil {
			return o, false, err
		}
		if region != "" {
			o.Nodes.Region = region
		}
	}
	return o, withParent, o.complete()
}

func readNodes(path string) (nodes.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nodes.File{}, err
	}
	defer file.Close()
	read, err := nodes.Decode(file)
	if err != nil {
		return nodes.File{}, fmt.Errorf("%s: %w", path, err)
	}
	return read, nil
}
