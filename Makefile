# ibuild. `make` or `make help` lists the targets.

SHELL    := /bin/bash
BIN      := bin/ibuild
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
# No manual pages in the command line's library and no debug pages in gRPC's: nobody uses them, and each start pays for them.
TAGS     := urfave_cli_no_docs,grpcnotrace
SOURCES  := $(shell find . -name '*.go' -not -path './integration/*' -not -name '*_test.go') go.mod go.sum
# The program of jobs' containers, which ibuild carries: see runner/bootstrap/doc.go.
PACKED   := runner/bootstrap/programs/.made
CARRIED  := $(shell find runner/bootstrap registry cache -name '*.go' -not -name '*_test.go') go.mod go.sum
# Tests and the demo start builders, users and mounts, so what is not root asks for it.
ROOT     := integration/as-root.sh

export CGO_ENABLED ?= 0

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: build
build: $(BIN) ## build bin/ibuild

$(PACKED): $(CARRIED)
	@echo "building the bootstrap"
	@go generate ./runner/bootstrap && touch $@

$(BIN): $(SOURCES) $(PACKED)
	@echo "building $(BIN)"
	@go build -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)" -o $@ ./cmd/ibuild

.PHONY: install
install: $(BIN) ## install ibuild to $(PREFIX)/bin (default /usr/local)
	install -D -m 0755 $(BIN) $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/ibuild

.PHONY: deps
deps: ## install the OS packages that demo and test need (apt, sudo when not root)
	@integration/deps.sh

.PHONY: demo
demo: deps $(BIN) ## a uv script to a pushed, running image; rebuilt without a builder
	@mkdir -p out && go build -o out/demo ./integration/cmd/demo
	@$(ROOT) out/demo -ibuild $(BIN)

.PHONY: check
check: vet lint unit ## the quick checks: vet, lint, unit tests

.PHONY: vet
vet:
	@echo "vet"
	@go vet ./... && go vet -tags integration ./...

.PHONY: lint
lint: ## format and static analysis
	@echo "lint"
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "not formatted with gofmt:"; echo "$$bad"; exit 1; fi
	@integration/lint.sh

.PHONY: unit
unit: ## unit tests: no privileges, no network
	@go test ./...

.PHONY: test
test: deps $(BIN) ## everything that CI runs: unit tests, then the real engines, registry and builder
	@integration/deps.sh pixi
	@$(MAKE) --no-print-directory vet lint unit
	@integration/fuzz.sh 2s seeds
	@$(ROOT) integration/test.sh

.PHONY: soak
soak: deps $(BIN) ## the long tests of faults, about 15 minutes; IBUILD_SOAK_RUNS (300 kills, 500 pushes) and IBUILD_SOAK_SEED are optional
	@$(ROOT) integration/soak.sh

.PHONY: bench
bench: deps $(BIN) ## measure against buildctl, buildx, buildah and crane; RUNS, ONLY (a regexp of row names), BYTES (of the large layers) are optional
	@integration/cmd/bench/deps.sh
	@mkdir -p out && go build -o out/bench ./integration/cmd/bench
	@$(ROOT) out/bench -ibuild $(BIN) $(if $(RUNS),-runs $(RUNS)) $(if $(ONLY),-only '$(ONLY)') $(if $(BYTES),-bytes $(BYTES))
	@go test -run '^$$' -bench 'ThousandSpecs|Validate10000' -count 5 ./frontends/spec

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (default 10m)
	@integration/fuzz.sh $(or $(FUZZTIME),10m)

.PHONY: testenv
testenv: deps ## start registry and buildkitd by hand, print what to export
	@mkdir -p out && go build -o out/testenv ./integration/cmd/testenv
	@$(ROOT) out/testenv

.PHONY: golden
golden: ## write the golden files anew
	@go test ./llb ./frontends/... ./runner/gke -update

.PHONY: clean
clean: ## remove what was built here (caches in the user's cache folder stay)
	@rm -rf bin out $(PACKED) runner/bootstrap/programs/linux-*
