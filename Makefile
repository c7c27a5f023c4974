# GCO. `make` by itself lists the targets. GNU make; the recipes are for bash.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := list
.DELETE_ON_ERROR:

MODULE  := github.com/gco-project/gco
# A release archive has no .git; it has a VERSION file.
VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),$(shell cat VERSION 2>/dev/null),unknown)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X $(MODULE)/internal/cli.version=$(VERSION)'

# Modules of their own, which ./... does not reach. infra/infra.mk and
# kubelab/kubelab.mk have the targets of those two.
NESTED := $(patsubst %/go.mod,%,$(wildcard bench/river/go.mod deploy/image/go.mod))
MODULES := . $(NESTED) $(patsubst %/go.mod,%,$(wildcard infra/go.mod kubelab/go.mod))

# Tools, by exact version, kept outside the checkout and by Go release: a
# linter cannot read code that is newer than itself.
GOFUMPT_VERSION     := v0.12.0
GOLANGCI_VERSION    := v2.15.0
VERSITYGW_VERSION   := v1.8.0
GOVULNCHECK_VERSION := v1.9.0
TOOLS       := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/gco/tools/$(shell go env GOVERSION)
GOFUMPT     := $(TOOLS)/gofumpt-$(GOFUMPT_VERSION)/gofumpt
GOLANGCI    := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
VERSITYGW   := $(TOOLS)/versitygw-$(VERSITYGW_VERSION)/versitygw
GOVULNCHECK := $(TOOLS)/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck

SCHEDULES ?= 500
FUZZTIME  ?= 10s
BENCH     ?=

.PHONY: list
list: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Run the whole system, kill a region, show that its jobs finish elsewhere [STORE=dynamodb]
	@scripts/demo.sh

##### Test

.PHONY: test test-unit test-stores test-sim test-nested
test: test-unit test-stores test-sim test-nested kubelab-test infra-test ## Run every test: units with -race, the simulation, nested modules

test-unit: test-tools ## Test the main module with -race, in random order
	go test -race -shuffle=on -timeout 25m ./...

.PHONY: test-tools
test-tools: $(VERSITYGW) ## Install the servers that tests run against
	@scripts/emulators.sh >/dev/null
	@scripts/kubelab.sh >/dev/null

# Without -race, which costs such tests five times as long; test-unit runs a
# little of each with it.
test-stores: test-tools ## Race for jobs 1,000 times, take stores through many lives, run the queue's tests on DynamoDB
	go test -count=1 ./internal/queue -dynamodb -timeout 20m
	go test -count=1 ./internal/store/dynamodb -run '^TestRacingClaimers$$' -rounds=1000 -v -timeout 20m
	go test -count=1 ./internal/store/storetest -run '^TestDrivers$$/^sqlite/^(Recount|Lanes)$$' -rapid.checks=60
	go test -count=1 ./internal/store/storetest -run '^TestDrivers$$/^dynamodb/^(Recount|Lanes)$$' -rapid.checks=8

# Without -race: one goroutine at a time runs in it by design, and it is 10
# times as fast.
test-sim: ## Run the simulation, and show that it catches mutants [SCHEDULES=500]
	go test -count=1 ./internal/sim -schedules=$(SCHEDULES) -mutants=100 -timeout 30m

test-nested: ## Test the nested modules
	@for module in $(NESTED); do echo "# $$module"; (cd $$module && go vet ./... && go test -shuffle=on ./...); done

.PHONY: fuzz
fuzz: ## Run each fuzz target for a while [FUZZTIME=10s]
	@grep -rhoE --include='*_test.go' -H '^func Fuzz[A-Za-z0-9_]*' api bench client cmd internal | \
	while IFS=: read -r file target; do \
	  echo "# $$file $${target#func }"; \
	  go test "./$$(dirname "$$file")" -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) </dev/null; \
	done

.PHONY: bench
bench: ## Run the benchmarks beside what they compare with [BENCH=a,k]
	go run ./bench $(if $(BENCH),-only $(BENCH))

##### Verify

.PHONY: verify verify-format verify-vet verify-lint verify-mod verify-generated verify-darwin verify-docs
verify: verify-format verify-vet verify-mod verify-generated verify-darwin verify-lint kubelab-lint verify-docs ## Check all that can be checked without a test run

verify-format: $(GOFUMPT) ## Check the format of all Go files
	@unformatted=$$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 ls -d 2>/dev/null | xargs $(GOFUMPT) -l); \
	if [ -n "$$unformatted" ]; then echo "not formatted; run make format:"; echo "$$unformatted"; exit 1; fi

verify-vet: ## Run go vet
	go vet ./...

verify-lint: $(GOLANGCI) ## Run golangci-lint
	$(GOLANGCI) run --allow-parallel-runners ./...
	@for module in $(NESTED); do echo "# $$module"; \
	  (cd $$module && $(GOLANGCI) run --allow-parallel-runners ./... 2> >(grep -v 'exclusion_rules] Skipped 0 issues' >&2)); done

verify-mod: ## Check that go.mod and go.sum say what the code needs
	@for module in $(MODULES); do (cd $$module && go mod tidy -diff) || { echo "$$module: run go mod tidy"; exit 1; }; done

# Compares with the work tree as it was, so that it also works between commits.
verify-generated: ## Check that generated files are what go generate makes
	@state() { git ls-files -z --modified --others --exclude-standard | xargs -0r sha256sum 2>/dev/null; }; \
	before=$$(state); go generate ./...; after=$$(state); \
	if [ "$$before" != "$$after" ]; then echo "go generate changed files; commit the result:"; diff <(echo "$$before") <(echo "$$after"); exit 1; fi

verify-darwin: ## Check that everything builds for macOS too
	GOOS=darwin GOARCH=arm64 CGO_ENABLED=0 go build -o /dev/null ./...

verify-docs: ## Check the documents: links, symbols, the import table
	go test -count=1 ./internal/structure

.PHONY: vulncheck
vulncheck: $(GOVULNCHECK) ## Look for known vulnerabilities (needs the vulnerability database, so it is no part of verify)
	$(GOVULNCHECK) ./...

##### Build

.PHONY: build
build: ## Build bin/gco
	$(GOBUILD) -o bin/gco ./cmd/gco

.PHONY: release
# The same commit gives the same bytes: no paths, no times but the commit's, no
# owners, files by name. Needs GNU tar.
release: ## Build dist/: gco for linux and darwin, amd64 and arm64, and SHA256SUMS
	@rm -rf dist && mkdir -p dist
	@epoch=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)}; \
	for os in linux darwin; do for arch in amd64 arm64; do \
	  name=gco_$(VERSION)_$${os}_$$arch; echo "$$name"; \
	  mkdir dist/$$name; cp LICENSE README.md dist/$$name/; \
	  GOOS=$$os GOARCH=$$arch $(GOBUILD) -buildvcs=false -o dist/$$name/gco ./cmd/gco; \
	  tar --sort=name --mtime=@$$epoch --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX -C dist -cf - $$name | gzip -9n >dist/$$name.tar.gz; \
	  rm -r dist/$$name; \
	done; done
	@cd dist && sha256sum *.tar.gz >SHA256SUMS && cat SHA256SUMS

.PHONY: image
# Without a container engine. The same commit gives the same digest.
image: ## Build dist/image, an OCI layout for linux on amd64 and arm64 [PUSH=REGISTRY/NAME:TAG]
	@mkdir -p dist/image
	@for arch in amd64 arm64; do GOOS=linux GOARCH=$$arch $(GOBUILD) -buildvcs=false -o dist/image/gco-$$arch ./cmd/gco; done
	@export SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null || echo 0)}; \
	cd deploy/image && go run . -version $(VERSION) -out ../../dist/image $(if $(PUSH),-push '$(PUSH)') \
	  -binary linux/amd64=../../dist/image/gco-amd64 -binary linux/arm64=../../dist/image/gco-arm64
	@rm dist/image/gco-*

.PHONY: generate format clean
generate: ## Write the generated files anew
	go generate ./...

format: $(GOFUMPT) ## Format all Go files
	@git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0 ls -d 2>/dev/null | xargs $(GOFUMPT) -w

clean: ## Remove what was built
	rm -rf bin dist

##### Tools

$(GOFUMPT):
	GOBIN=$(@D) go install mvdan.cc/gofumpt@$(GOFUMPT_VERSION)

$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION), once; this takes minutes"
	GOBIN=$(@D) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(VERSITYGW):
	@echo "building versitygw $(VERSITYGW_VERSION), an S3 server for tests, once; this takes minutes"
	CGO_ENABLED=0 GOBIN=$(@D) go install -trimpath -ldflags '-s -w' github.com/versity/versitygw/cmd/versitygw@$(VERSITYGW_VERSION)

$(GOVULNCHECK):
	GOBIN=$(@D) go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

-include kubelab/kubelab.mk
-include infra/infra.mk
