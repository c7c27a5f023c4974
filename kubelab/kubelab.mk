# Targets of kubelab, a module of its own: what it builds on is all of
# Kubernetes. The Makefile of the repository includes this file; paths are
# relative to the repository's root.
#
# Everything is compiled with the same settings as the binary, so that the
# compiler's cache serves all of it.
KUBELAB_ENV := CGO_ENABLED=0 GOFLAGS='$(shell go env GOFLAGS) -trimpath'

.PHONY: kubelab kubelab-test kubelab-lint

kubelab: ## Build bin/kubelab, real Kubernetes in one process (minutes, the first time)
	@mkdir -p bin && ln -sf "$$(scripts/kubelab.sh)" bin/kubelab

kubelab-test: ## Test kubelab
	@cd kubelab && $(KUBELAB_ENV) go test -shuffle=on ./...

kubelab-lint: $(GOLANGCI)
	@echo "# kubelab"; cd kubelab && $(KUBELAB_ENV) $(GOLANGCI) run --allow-parallel-runners ./... 2> >(grep -v 'exclusion_rules] Skipped 0 issues' >&2)
