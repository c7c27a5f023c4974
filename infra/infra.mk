# Targets of the AWS layer. The Makefile of the repository includes this file;
# paths are relative to the repository's root.
#
#   CONFIG     the configuration; default gco.yaml where it exists
#   PROFILE    production or seed, over what the configuration says
#   INFRA_BASE template of the global stack that infra-diff compares with, in
#              place of what is deployed; needs no credentials
#   INFRA_OUT  directory that receives <stack>.template.json and the reports
PROFILE ?=
INFRA_OUT ?= infra/cdk.out

# The CDK's Node runtime warns at every start about Node versions that have
# reached their end; it runs on 20 all the same. Its second kind of warning is
# about properties that the CDK sets on itself.
INFRA_ENV := JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=20 JSII_DEPRECATED=quiet

# A CONFIG that was named must exist; the default need not.
INFRA_CONFIG = $(if $(CONFIG),$(abspath $(CONFIG)),$(abspath $(wildcard gco.yaml)))

.PHONY: infra-synth infra-policy infra-diff infra-test infra-node

infra-synth: ## Write the CloudFormation templates [CONFIG=gco.yaml] [PROFILE=seed] [INFRA_OUT=DIR]
	@mkdir -p $(INFRA_OUT)
	@cd infra && $(INFRA_ENV) go run ./cmd/gco-infra $(if $(INFRA_CONFIG),-config '$(INFRA_CONFIG)') $(if $(PROFILE),-profile '$(PROFILE)') -out '$(abspath $(INFRA_OUT))'

infra-policy: ## Print the IAM policy that CloudFormation needs [CONFIG=gco.yaml] [PROFILE=seed]
	@cd infra && go run ./cmd/gco-infra $(if $(INFRA_CONFIG),-config '$(INFRA_CONFIG)') $(if $(PROFILE),-profile '$(PROFILE)') -policy

infra-diff: infra-node ## Compare with what is deployed, or offline with a template [CONFIG=gco.yaml] [PROFILE=seed] [INFRA_BASE=FILE]
	@cd infra && $(INFRA_ENV) npx aws-cdk diff $(if $(INFRA_BASE),'*-global' --template '$(abspath $(INFRA_BASE))') $(if $(INFRA_CONFIG),-c 'config=$(INFRA_CONFIG)') $(if $(PROFILE),-c 'profile=$(PROFILE)')

infra-test: infra-node ## Test the AWS layer: templates, cdk-nag, CloudFormation's schemas
	@cd infra && go vet ./... && $(INFRA_ENV) go test -shuffle=on ./...

infra-node: infra/node_modules/.package-lock.json

infra/node_modules/.package-lock.json: infra/package.json infra/package-lock.json
	@cd infra && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@
