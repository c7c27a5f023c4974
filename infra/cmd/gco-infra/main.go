// Command gco-infra writes the CloudFormation templates of GCO's AWS layer. The
// CDK command line runs it without arguments; make infra-synth names a
// configuration, a profile and a directory; make infra-policy asks for the IAM
// policy of a deployment.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/aws/jsii-runtime-go"

	"github.com/gco-project/gco/infra"
)

func main() {
	err := run(os.Args[1:], os.Stdout)
	closeKernel()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // the one place that turns an error into an exit code
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("gco-infra", flag.ExitOnError)
	path := flags.String("config", "", "configuration `file`; default "+infra.DefaultConfig+" where it exists")
	profile := flags.String("profile", "", "production or seed, over what the file says")
	policy := flags.Bool("policy", false, "print the IAM policy that CloudFormation needs, and write no templates")
	dir := flags.String("out", "", "write templates to `DIR`; default: where the CDK command line wants them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	options := infra.Options{Config: *path, OutDir: *dir, Context: map[string]any{}}
	if *profile != "" {
		options.Context["profile"] = *profile
	}
	if *policy {
		return printPolicy(options, out)
	}
	assembly, err := infra.Synth(options)
	if err != nil {
		return err
	}
	if *dir != "" {
		for _, stack := range assembly.Stacks {
			fmt.Fprintln(out, assembly.Template(stack))
		}
		fmt.Fprintf(out, "cdk-nag: %d checks, %d findings suppressed with a reason, none open\n",
			assembly.Nag.Checked, len(assembly.Nag.Suppressed))
	}
	return nil
}

func printPolicy(options infra.Options, out io.Writer) error {
	conf, err := infra.Load(options)
	if err != nil {
		return err
	}
	text, err := infra.Policy(conf)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

// closeKernel ends the Node process and removes its files. jsii waits for the
// process in two goroutines, and the one that comes second prints an error that
// is none; it goes where nobody reads it.
func closeKernel() {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		os.Stderr, null = null, os.Stderr
		defer func() { os.Stderr = null }()
	}
	jsii.Close()
}
