package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gco-project/gco/client"
)

type endpointsInvokeOptions struct {
	*Program
	name        string
	path        string
	method      string
	data        string
	headers     []string
	showHeaders bool
}

func newEndpointsInvoke(p *Program, run func(context.Context, *endpointsInvokeOptions) error) *cobra.Command {
	opts := &endpointsInvokeOptions{Program: p}
	cmd := &cobra.Command{
		Use:   "invoke NAME [PATH]",
		Short: "Send a request to an endpoint",
		Long: `Invoke sends a request to a replica of an endpoint, by way of the server that
your config names, and prints the answer as it comes: a stream of events, too.
It fails if the status is 400 or more.`,
		Example: `  gco endpoints invoke linear /predict -d '{"inputs":[1,2,3]}'
  gco endpoints invoke chat /v1/chat/completions -d @request.json
  gco endpoints invoke linear /healthz --include`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: once(p.endpointNames()),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.name, opts.path = args[0], "/"
			if len(args) == 2 {
				opts.path = args[1]
			}
			for _, header := range opts.headers {
				if name, _, found := strings.Cut(header, ":"); !found || strings.TrimSpace(name) == "" {
					return usagef(cmd, "--header %q: NAME: VALUE expected", header)
				}
			}
			return run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&opts.data, "data", "d", "", "`BODY` of the request; @FILE reads a file, @- standard input")
	flags.StringVarP(&opts.method, "method", "X", "", "`METHOD` of the request (default GET, or POST with --data)")
	flags.StringArrayVarP(&opts.headers, "header", "H", nil, "further `HEADER`, as NAME: VALUE; may be repeated")
	flags.BoolVarP(&opts.showHeaders, "include", "i", false, "print the status and the headers of the answer, too")
	return cmd
}

func runEndpointsInvoke(ctx context.Context, opts *endpointsInvokeOptions) error {
	c, err := opts.connect()
	if err != nil {
		return err
	}
	what, err := opts.invocation()
	if err != nil {
		return err
	}
	response, err := c.Invoke(ctx, what)
	if err != nil {
		return fmt.Errorf("invoking endpoint %s: %w", opts.name, err)
	}
	defer response.Body.Close()
	if opts.showHeaders {
		fmt.Fprintf(opts.Out, "%s %s\n", response.Proto, response.Status)
		if err := response.Header.Write(opts.Out); err != nil {
			return err
		}
		fmt.Fprintln(opts.Out)
	}
	if _, err := io.Copy(opts.Out, response.Body); err != nil {
		return fmt.Errorf("reading the answer of endpoint %s: %w", opts.name, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("endpoint %s answered %s", opts.name, response.Status)
	}
	return nil
}

// invocation is the request that the flags make.
func (o *endpointsInvokeOptions) invocation() (client.Invocation, error) {
	what := client.Invocation{Endpoint: o.name, Method: o.method, Path: o.path, Header: http.Header{}}
	if what.Method == "" {
		what.Method = http.MethodGet
		if o.data != "" {
			what.Method = http.MethodPost
		}
	}
	body, err := o.body()
	if err != nil {
		return what, err
	}
	if body != "" {
		what.Body = strings.NewReader(body)
		what.Header.Set("Content-Type", "application/json")
	}
	for _, header := range o.headers {
		name, value, _ := strings.Cut(header, ":")
		what.Header.Set(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return what, nil
}

func (o *endpointsInvokeOptions) body() (string, error) {
	file, isFile := strings.CutPrefix(o.data, "@")
	if !isFile {
		return o.data, nil
	}
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(o.In)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fmt.Errorf("reading the body: %w", err)
	}
	return string(text), nil
}
