// Command kubelab runs one real Kubernetes control plane with nodes that are
// not, for tests and for gco up --kubernetes.
package main

import (
	"os"

	"github.com/gco-project/gco/kubelab/lab"
)

func main() { os.Exit(lab.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) } //nolint:forbidigo // main itself
