// Command gco is the whole of GCO in one binary: control plane, regional
// agent and command line.
package main

import (
	"os"

	"github.com/gco-project/gco/internal/cli"
)

func main() {
	os.Exit(cli.New(cli.System()).Run(os.Args[1:]))
}
