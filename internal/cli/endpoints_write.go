package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/api"
	"github.com/gco-project/gco/client"
)

type endpointsWriteOptions struct {
	*Program
	output format
	files  []string
	wait   bool
	// doing is for messages; write makes the call.
	doing string
	write func(ctx context.Context, c *client.Client, e api.NewEndpoint) (api.Endpoint, error)
}

func newEndpointsCreate(p *Program, run func(context.Context, *endpointsWriteOptions) error) *cobra.Command {
	opts := &endpointsWriteOptions{Program: p, doing: "creating", write: createEndpoint}
	return opts.command(&cobra.Command{
		Use:     "create FILE|-...",
		Short:   "Create endpoints of files",
		Example: "  gco endpoints create examples/endpoint.yaml\n  gco endpoints create examples/endpoint.yaml --wait",
	}, run)
}

func newEndpointsUpdate(p *Program, run func(context.Context, *endpointsWriteOptions) error) *cobra.Command {
	opts := &endpointsWriteOptions{Program: p, doing: "updating", write: updateEndpoint}
	return opts.command(&cobra.Command{
		Use:   "update FILE|-...",
		Short: "Replace the specs of endpoints",
		Long: `Update replaces the whole spec of each endpoint of a file. What changes a
replica (image, command, args, env, port, resources, model, healthPath,
capacityType) makes a revision, which takes over by a rolling update, and is
rolled back where it does not become ready.`,
		Example: "  gco endpoints update examples/endpoint.yaml --wait",
	}, run)
}

func newEndpointsApply(p *Program, run func(context.Context, *endpointsWriteOptions) error) *cobra.Command {
	opts := &endpointsWriteOptions{Program: p, doing: "applying", write: applyEndpoint}
	return opts.command(&cobra.Command{
		Use:     "apply FILE|-...",
		Short:   "Create endpoints of files, or replace their specs",
		Example: "  gco endpoints apply examples/endpoint.yaml --wait",
	}, run)
}

func (o *endpointsWriteOptions) command(cmd *cobra.Command, run func(context.Context, *endpointsWriteOptions) error) *cobra.Command {
	cmd.Args = some("FILE")
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.files = args
		return run(cmd.Context(), o)
	}
	addWaitForReady(cmd, &o.wait)
	addOutput(cmd, &o.output)
	return cmd
}

func addWaitForReady(cmd *cobra.Command, wait *bool) {
	cmd.Flags().BoolVar(wait, "wait", false, "wait until all replicas are as they should be; fail if a revision is rolled back")
}

func runEndpointsWrite(ctx context.Context, opts *endpointsWriteOptions) error {
	files, err := documents(opts.In, opts.files)
	if err != nil {
		return err
	}
	endpoints := make([]api.NewEndpoint, len(files))
	for i, file := range files {
		if endpoints[i], err = readEndpoint(file); err != nil {
			return err
		}
	}
	c, err := opts.connect()
	if err != nil {
		return err
	}
	var written []api.Endpoint
	var refused []error
	for i, e := range endpoints {
		one, err := opts.write(ctx, c, e)
		if err == nil && opts.wait {
			one, err = opts.awaitEndpoint(ctx, c, one)
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("%s %s: %w", opts.doing, files[i].name, err))
			continue
		}
		written = append(written, one)
	}
	return errors.Join(append(refused, printEndpoints(opts.Program, opts.output, written))...)
}

func createEndpoint(ctx context.Context, c *client.Client, e api.NewEndpoint) (api.Endpoint, error) {
	return c.CreateEndpoint(ctx, e)
}

// updateEndpoint replaces the spec of what it finds; somebody who changes it at
// the same time is not overwritten.
func updateEndpoint(ctx context.Context, c *client.Client, e api.NewEndpoint) (api.Endpoint, error) {
	current, err := c.Endpoint(ctx, e.Name)
	if err != nil {
		return current, err
	}
	return c.UpdateEndpoint(ctx, e, client.IfVersion(current.Version))
}

func applyEndpoint(ctx context.Context, c *client.Client, e api.NewEndpoint) (api.Endpoint, error) {
	updated, err := updateEndpoint(ctx, c, e)
	if client.Is(err, api.ProblemNotFound) {
		return c.CreateEndpoint(ctx, e)
	}
	return updated, err
}

// readEndpoint reads an endpoint as the API takes it; only the server can say
// whether it is a good one.
func readEndpoint(file document) (api.NewEndpoint, error) {
	var e api.NewEndpoint
	text, err := yamlToJSON(file.text)
	if err == nil {
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		err = decoder.Decode(&e)
	}
	switch {
	case err != nil:
		return e, fmt.Errorf("reading %s: %w", file.name, err)
	case e.Name == "":
		return e, fmt.Errorf("%s has no name; an endpoint has a name, an image and a port", file.name)
	}
	return e, nil
}
