# Quorate: one target for each task. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Sets the paths of caches, the RocksDB library and libclang.
ENV := . deploy/deps/env.sh;
PROGRAMS := --bin chatd --bin chatctl --bin quorate-operator --bin xtask
# Not `cargo xtask`: built on its own, it would resolve other features and rebuild all dependencies.
XTASK := "$$CARGO_TARGET_DIR/release/xtask" --root .
LOCAL := deploy/local-kubernetes/local-kubernetes
NAME ?= quorate
NODES ?= 3

##@ Use
.PHONY: up down local local-down
up: ## Start a chat cluster on a local Kubernetes; CONTEXT=name: on the cluster of that kubectl context
	@$(ENV) NAME='$(NAME)' NODES='$(NODES)' CONTEXT='$(CONTEXT)' deploy/up
down: ## Stop and remove the local Kubernetes that `make up` created
	@$(ENV) $(LOCAL) down --name '$(NAME)'
local: ## Start three chatd processes on this machine, without Kubernetes or root
	@$(ENV) deploy/local/up
local-down: ## Stop these processes; their data stays in the cache directory
	@$(ENV) deploy/local/down

##@ Develop
.PHONY: check fix generate build programs local-programs image
# Always --release: a second profile would build every dependency, including its C code, a second time.
check: build ## Build, then check formatting, lints, house rules, licences and generated files; changes no source file
	@$(ENV) cargo fmt --all --check
	@$(ENV) cargo clippy --release --workspace --all-targets --locked -- -D warnings
	@$(ENV) RUSTC_WORKSPACE_WRAPPER='$(CURDIR)/chatd/sim/rustc-without-rocksdb' cargo check --release --locked --workspace --bin quorate-sim
	@$(ENV) $(XTASK) tidy
	@$(ENV) $(XTASK) generate --check --chatd "$$CARGO_TARGET_DIR/release/chatd" --operator "$$CARGO_TARGET_DIR/release/quorate-operator"
	@$(ENV) deploy/deps/check
	@$(ENV) deploy/deps/cargo-deny check --hide-inclusion-graph licenses bans sources
fix: deps-build ## Format, apply the lints' suggestions, generate
	@$(ENV) cargo fmt --all
	@$(ENV) cargo clippy --release --workspace --all-targets --fix --allow-dirty --allow-staged
	@$(MAKE) generate
generate: build ## Generate crds/*.yaml, schemas of the charts' values, configuration and metrics references and dashboards from the code
	@$(ENV) $(XTASK) generate --chatd "$$CARGO_TARGET_DIR/release/chatd" --operator "$$CARGO_TARGET_DIR/release/quorate-operator"
build: deps-build ## Build chatd, chatctl and quorate-operator
	@$(ENV) cargo build --release --locked --workspace $(PROGRAMS)
programs: deps-build ## Build the same and all tests in one step, which uses the machine better than two
	@$(ENV) cargo build --release --locked --workspace $(PROGRAMS) --tests
local-programs: ## Build the programs of the local Kubernetes, which needs nothing but Go and Python
	@$(ENV) $(LOCAL) build
image: build ## Build docker-archives of both images, without a container engine
	@$(ENV) deploy/image/build --tag content --out "$$QUORATE_CACHE/images"

##@ Test
.PHONY: test nightly unit histories sim seeds fuzz doc faults charts matrix clients oracle conformance abuse soak kubernetes e2e
test: export SOAK_SECONDS = 180
test: export ORACLE_SEEDS = 4
test: ## Run check and all tests below except nightly, histories, sim, fuzz, doc, clients and conformance, some in parallel, and report times; run by continuous integration
	@# The local Kubernetes takes what the compiler of the last crate leaves; seeds, charts and the compiler of check take what
	@# the tests that mostly wait leave.
	@tests/parts beside:local-programs programs beside:charts,seeds unit faults+soak kubernetes+matrix+abuse+oracle+~check e2e
nightly: export SOAK_SECONDS = 1800
nightly: export QUORATE_SEEDS = 5000
nightly: export QUORATE_HISTORIES = 40
nightly: export ORACLE_SEEDS = 200
nightly: ## Run the long tests: 5,000 seeds alongside half an hour of soak, then 200 of the oracle, 40 histories, doc, clients and fuzzing; takes more than an hour
	@tests/parts seeds+soak oracle histories doc clients fuzz
unit: deps-build deps-test ## Run unit, model and process tests, without the simulation seeds
	@# Process tests mostly wait for each other's pods: twice as many threads as cores halve their time.
	@$(ENV) RUST_TEST_THREADS="$${RUST_TEST_THREADS:-$$((2 * $$(nproc)))}" cargo test --release --locked --workspace -- --skip whatever_goes_wrong_clients_get_what_they_were_promised
histories: deps-build deps-test ## Let clients sync through random histories on three pods; QUORATE_HISTORIES=40: that many (10)
	@$(ENV) QUORATE_HISTORIES="$${QUORATE_HISTORIES:-10}" cargo test --release --locked --workspace --test it histories
sim: deps-build ## Simulate whole clusters, seed after seed, until one fails; QUORATE_SEED=7: start at seed 7
	@$(ENV) cargo build --release --locked --workspace --bin quorate-sim
	@$(ENV) "$$CARGO_TARGET_DIR/release/quorate-sim" from "$${QUORATE_SEED:-0}"
seeds: deps-build ## Run 500 simulation seeds; QUORATE_SEEDS=5000: that many seeds, and cases of each model test
	@# Not by package, which would rebuild dependencies with other features.
	@$(ENV) cargo test --release --locked --workspace --test simulation $(if $(QUORATE_SEEDS),--test model --test followers --test readers --test reading)
	@$(if $(QUORATE_SEEDS),$(ENV) cargo test --release --locked --workspace --lib plans_come_to_rest)
fuzz: deps-build ## Fuzz every decoder, for FUZZ_SECONDS (300) in total; part of `make nightly`, not of `make test`
	@$(ENV) chatd/fuzz/run --seconds "$${FUZZ_SECONDS:-300}"
doc: deps-build ## Build the documentation of the code; fails on a link that leads nowhere
	@$(ENV) RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links' cargo doc --release --locked --workspace --no-deps --document-private-items
faults: deps-test build ## Test three processes under pauses, partitions, full disks and power failures; mostly needs root
	@$(ENV) tests/faults/check
	@$(ENV) tests/faults/run
charts: deps-kubernetes build ## Run helm lint and template, and schema checks of charts, CRD and dashboards
	@$(ENV) charts/tests/check
	@$(ENV) dashboards/tests/check
matrix: deps-test build ## Test three processes with matrix-nio, matrix-js-sdk and mautrix-go, unmodified
	@$(ENV) tests/matrix/run
clients: deps-test build ## Test with matrix-rust-sdk and iamb, unmodified, which take long to build, once; part of `make nightly`
	@tests/conformance/check
	@tests/matrix/rust-sdk/check
	@tests/conformance/run --kill-on-request -- tests/matrix/rust-clients
oracle: deps-test build ## Compare answers with those of Synapse; ORACLE_SEEDS=200: that many random sequences (8)
	@tests/oracle/check
	@tests/oracle/run --seeds "$${ORACLE_SEEDS:-8}"
conformance: deps-test build ## Let clients nobody here wrote judge three pods, also while their leader is killed every 4 s
	@tests/conformance/check
	@tests/conformance/run -- tests/matrix/clients
	@tests/conformance/run --kill-leader 4 --times "$${CONFORMANCE_TIMES:-6}" -- tests/matrix/clients
abuse: deps-test build ## Test one process under callers who exceed every limit, while a user writes and reads; no root
	@$(ENV) tests/abuse/run
soak: deps-test build ## Load three processes for SOAK_SECONDS (1800), and check that disk, memory and files stay bounded
	@$(ENV) tests/soak/run
kubernetes: deps-kubernetes ## Test the local Kubernetes itself: network, volumes, faults, complete removal
	@$(ENV) deploy/local-kubernetes/tests/run
e2e: deps-kubernetes deps-test image ## Test everything end to end on a local Kubernetes, with faults
	@$(ENV) tests/e2e/run

##@ Measure
.PHONY: bench
bench: deps-bench build ## Benchmark Quorate and its peers, 20 minutes; DOCS=docs: update the docs; BENCH='--workload B1': options
	@$(ENV) cargo build --release --locked --workspace --bin quorate-bench
	@$(ENV) ulimit -n 20000 && "$$CARGO_TARGET_DIR/release/quorate-bench" run $(if $(DOCS),--docs '$(DOCS)') $(BENCH)

##@ Dependencies
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
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile
