# Quorate: every task has one name here. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Caches, the RocksDB library and libclang: see the file.
ENV := . deploy/deps/env.sh;
PROGRAMS := --bin chatd --bin chatctl --bin quorate-operator --bin xtask
# Not `cargo xtask`: built by itself it would have its dependencies with other features, all of them a second time.
XTASK := "$$CARGO_TARGET_DIR/release/xtask" --root .
LOCAL := deploy/local-kubernetes/local-kubernetes
NAME ?= quorate
NODES ?= 3

##@ Use
.PHONY: up down local local-down
up: ## A chat cluster on a local Kubernetes; CONTEXT=name: on one that kubectl knows
	@$(ENV) NAME='$(NAME)' NODES='$(NODES)' CONTEXT='$(CONTEXT)' deploy/up
down: ## Stop and remove the local Kubernetes that `make up` made
	@$(ENV) $(LOCAL) down --name '$(NAME)'
local: ## Three chatd processes on this machine, no Kubernetes, no root
	@$(ENV) deploy/local/up
local-down: ## Stop them; their data stays in the cache directory
	@$(ENV) deploy/local/down

##@ Work on it
.PHONY: check fix generate build programs image
# Always --release: a second profile would build every dependency, and their C, a second time.
check: build ## Formatting, lints, licences, generated files; quick, writes nothing
	@$(ENV) cargo fmt --all --check
	@$(ENV) cargo clippy --release --workspace --all-targets --locked -- -D warnings
	@$(ENV) RUSTC_WORKSPACE_WRAPPER='$(CURDIR)/chatd/sim/rustc-without-rocksdb' cargo check --release --locked --workspace --bin quorate-sim
	@$(ENV) $(XTASK) tidy
	@$(ENV) $(XTASK) generate --check --chatd "$$CARGO_TARGET_DIR/release/chatd" --operator "$$CARGO_TARGET_DIR/release/quorate-operator"
	@$(ENV) deploy/deps/cargo-deny check --hide-inclusion-graph licenses bans sources
fix: deps-build ## Format, apply the lints' own suggestions, generate
	@$(ENV) cargo fmt --all
	@$(ENV) cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
	@$(MAKE) generate
generate: build ## crds/*.yaml, the configuration reference, the list of metrics, dashboards, from the code; the chart's copies
	@$(ENV) $(XTASK) generate --chatd "$$CARGO_TARGET_DIR/release/chatd" --operator "$$CARGO_TARGET_DIR/release/quorate-operator"
build: deps-build ## chatd, chatctl and quorate-operator
	@$(ENV) cargo build --release --locked --workspace $(PROGRAMS)
programs: deps-build ## The same and all tests, compiled at once: less of the machine is idle than in two steps
	@$(ENV) cargo build --release --locked --workspace $(PROGRAMS) --tests
image: build ## docker-archives of both images, without a container engine
	@$(ENV) deploy/image/build --tag content --out "$$QUORATE_CACHE/images"

##@ Prove it
.PHONY: test nightly unit sim seeds fuzz faults charts matrix abuse soak kubernetes e2e
test: export SOAK_SECONDS = 180
test: ## All of what follows but nightly, sim, seeds and fuzz, some of it at the same time, with the time of each; what continuous integration runs
	@tests/parts programs check unit+seeds charts faults+soak kubernetes+matrix+abuse e2e
nightly: export SOAK_SECONDS = 1800
nightly: export QUORATE_SEEDS = 5000
nightly: ## What runs long for depth: 5,000 seeds beside half an hour of soak, fuzzing; an hour
	@tests/parts seeds+soak fuzz
unit: deps-build deps-test ## Unit, model and process tests, without the seeds of the simulation
	@$(ENV) cargo test --release --locked --workspace -- --skip whatever_goes_wrong_clients_get_what_they_were_promised
sim: deps-build ## Whole clusters in simulated time, seed after seed, until one fails; QUORATE_SEED=7: from there
	@$(ENV) cargo build --release --locked --workspace --bin quorate-sim
	@$(ENV) "$$CARGO_TARGET_DIR/release/quorate-sim" from "$${QUORATE_SEED:-0}"
seeds: deps-build ## 1,000 seeds of the simulation; QUORATE_SEEDS=5000: so many of it, and cases of each model test
	@# Not by package: that would build dependencies with other features anew.
	@$(ENV) cargo test --release --locked --workspace --test simulation $(if $(QUORATE_SEEDS),--test model --test followers --test readers)
	@$(if $(QUORATE_SEEDS),$(ENV) cargo test --release --locked --workspace --lib plans_come_to_rest)
fuzz: deps-build ## Any bytes for every decoder, FUZZ_SECONDS (300) for all of them together; nightly, not part of `make test`
	@$(ENV) chatd/fuzz/run --seconds "$${FUZZ_SECONDS:-300}"
faults: deps-test build ## Three processes under pauses, partitions, full disks, power failures; most of it needs root
	@$(ENV) tests/faults/check
	@$(ENV) tests/faults/run
charts: deps-kubernetes build ## helm lint, template, schema checks of charts, CRD and dashboards
	@$(ENV) charts/tests/check
	@$(ENV) dashboards/tests/check
matrix: deps-test build ## matrix-nio, unmodified, against three processes
	@$(ENV) tests/matrix/run
abuse: deps-test build ## One process under callers who misuse every limit, while a user writes and reads; no root
	@$(ENV) tests/abuse/run
soak: deps-test build ## Three processes under load for SOAK_SECONDS (1800): disk, memory, files stay bounded
	@$(ENV) tests/soak/run
kubernetes: deps-kubernetes ## The local Kubernetes itself: network, volumes, faults, full removal
	@$(ENV) deploy/local-kubernetes/tests/run
e2e: deps-kubernetes deps-test image ## The whole on a local Kubernetes, with faults
	@$(ENV) tests/e2e/run

##@ Measure it
.PHONY: bench
bench: deps-bench build ## Quorate and its peers side by side, 12 minutes; DOCS=docs: into the book; BENCH='--workload B1'
	@$(ENV) cargo build --release --locked --workspace --bin quorate-bench
	@$(ENV) ulimit -n 20000 && "$$CARGO_TARGET_DIR/release/quorate-bench" run $(if $(DOCS),--docs '$(DOCS)') $(BENCH)

##@ What it needs
.PHONY: deps-build deps-kubernetes deps-test deps-bench
deps-build:
	@deploy/deps/install build
	@$(ENV) deploy/deps/rocksdb
deps-kubernetes: deps-build
	@deploy/deps/install kubernetes
	@$(ENV) $(LOCAL) build
deps-test:
	@deploy/deps/install test
deps-bench:
	@$(ENV) deploy/deps/install bench

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
