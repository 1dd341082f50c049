# Everything a person or a CI job types. `make dev` and `make test` are the two that matter; both do
# the set-up first, and what is already there is not made again.

SHELL := bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# ---- What you may set ----------------------------------------------------------------------------

# Where `make dev` listens, and on what a sandbox runs: `docker`, `local`, or nothing for the best one here.
PORT ?= 8787
ENGINE ?=
# The engines that `make test` must run on: a comma list makes each mandatory; nothing means those that can run here.
ENGINES ?=
# Where the tools go that no package manager of this project installs. Nothing outside the project is touched.
DEV ?= .dev

# ---- Versions: Cargo.lock decides, so that the tools always fit the libraries --------------------

locked = $(shell awk -v name='"$(1)"' '$$1 == "name" { hit = $$3 == name } hit && $$1 == "version" { gsub(/"/, "", $$3); print $$3; exit }' Cargo.lock)
WASM_BINDGEN_VERSION := $(call locked,wasm-bindgen)
# worker-build is released in step with `worker`.
WORKER_BUILD_VERSION := $(call locked,worker)

WORKER_BUILD := $(DEV)/worker-build-$(WORKER_BUILD_VERSION)/bin/worker-build
WASM_BINDGEN := $(DEV)/wasm-bindgen-$(WASM_BINDGEN_VERSION)/bin/wasm-bindgen
TOOLCHAIN := $(DEV)/toolchain
NODE_MODULES := node_modules/.package-lock.json
TOOLS := $(TOOLCHAIN) $(NODE_MODULES) $(WASM_BINDGEN) $(WORKER_BUILD)

# worker-build downloads these three unless it is told where they are.
export WASM_BINDGEN_BIN := $(abspath $(WASM_BINDGEN))
export WASM_OPT_BIN := $(abspath node_modules/.bin/wasm-opt)
export ESBUILD_BIN := $(abspath node_modules/.bin/esbuild)
# Puts the Node that wrangler wants before an older one of the machine.
export PATH := $(abspath node_modules/.bin):$(PATH)

say = @printf '\033[1m» %s\033[0m\n' $(1)

.PHONY: help setup worker openapi example supervisor bench dev test clean

help:
	@echo 'make dev      serve http://localhost:$(PORT) (PORT=, ENGINE=docker|local)'
	@echo 'make test     everything that can be checked here (ENGINES=docker,local makes both mandatory)'
	@echo 'make bench    the speed of the supervisor, beside that of the bare machine; into target/bench.json'
	@echo 'make openapi  the document of the API anew, from the types of protocol/'
	@echo 'make worker   the Worker alone, into build/'
	@echo 'make setup    the tools and the Worker, without starting anything'
	@echo 'make clean    remove what was built; the tools stay'

setup: $(TOOLS) worker
	@rm -rf $(DEV)/target

# ---- Tools ---------------------------------------------------------------------------------------

# The toolchain named by rust-toolchain.toml; rustup is only asked when a part is missing.
$(TOOLCHAIN): rust-toolchain.toml
	$(call say,'Rust toolchain')
	@mkdir -p $(DEV)
	@test -d "$$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" \
	  && cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 \
	  || rustup toolchain install
	@rustc --version | tee $@

$(NODE_MODULES): package.json package-lock.json
	$(call say,'npm packages: wrangler$(comma) esbuild$(comma) binaryen$(comma) node')
	@npm ci --no-audit --no-fund --loglevel=error
	@touch $@

# install_tool = package, version, binary. Debug builds: each runs for a moment and installs three times
# faster. A registry mirror may lack a version that the tool's own lock file names: then cargo resolves anew.
define install_tool
$(call say,'$(1) $(2): a minute or two$(comma) once')
@set -e; environment="$$($(environment))"; eval "$$environment"; \
  flags="--debug --root $(DEV)/$(3)-$(2) --target-dir $(DEV)/target --version $(2) --bin $(3)"; \
  cargo install --locked $$flags $(1) || cargo install $$flags $(1)
endef

# What prints the variables that a tool is installed with.
environment := true
$(WORKER_BUILD): environment = dev/openssl.sh $(DEV)/openssl

$(WASM_BINDGEN): | $(TOOLCHAIN)
	$(call install_tool,wasm-bindgen-cli,$(WASM_BINDGEN_VERSION),wasm-bindgen)

$(WORKER_BUILD): | $(TOOLCHAIN)
	$(call install_tool,worker-build,$(WORKER_BUILD_VERSION),worker-build)

comma := ,

# ---- The Worker ----------------------------------------------------------------------------------

# What the console takes from npm, as it is published: it has no build of its own.
VENDOR := public/vendor/xterm/xterm.mjs

# What `wrangler` runs before it serves or deploys ([build] in wrangler.toml).
worker: build/index.js $(VENDOR)

$(VENDOR): Makefile $(NODE_MODULES)
	@mkdir -p public/vendor/xterm public/vendor/eventsource-parser public/vendor/sandbox
	@cd node_modules/@xterm && cp xterm/css/xterm.css xterm/LICENSE addon-fit/lib/addon-fit.mjs $(abspath public/vendor/xterm)
	@cd node_modules/eventsource-parser && cp dist/{stream,parse,errors}.js LICENSE $(abspath public/vendor/eventsource-parser)
	@cd node_modules/@cloudflare/sandbox && cp dist/xterm/index.js LICENSE $(abspath public/vendor/sandbox)
	@cp node_modules/@xterm/xterm/lib/xterm.mjs $@

WORKER_SOURCES := Cargo.toml Cargo.lock protocol/Cargo.toml protocol/openapi.json $(shell find src protocol/src -name '*.rs')

build/index.js: $(WORKER_SOURCES) $(TOOLS)
	$(call say,'Worker: Rust to WebAssembly')
	@$(WORKER_BUILD) --release

# The document that the Worker serves, from the types. A test fails where the two differ.
openapi: $(TOOLCHAIN)
	@cargo run --quiet --locked -p sandbox-protocol --example openapi >protocol/openapi.json.new
	@mv protocol/openapi.json.new protocol/openapi.json

# Workers that use the library, as somebody else would. They share what cargo has compiled for ours.
EXAMPLES := build-worker services

example: $(EXAMPLES:%=examples/%/build/index.js)

.SECONDEXPANSION:
examples/%/build/index.js: $$(wildcard examples/$$*/Cargo.*) $$(wildcard examples/$$*/src/*) $$(wildcard examples/$$*/*.mjs) \
  $(WORKER_SOURCES) $(TOOLS)
	$(call say,'Example $*: Rust to WebAssembly')
	@cd examples/$* && CARGO_TARGET_DIR=$(abspath target) $(abspath $(WORKER_BUILD)) --release

# The supervisor for this machine, as the local engine starts it. The image has its own build of it.
supervisor: $(TOOLCHAIN)
	$(call say,'Supervisor')
	@cargo build --locked --profile supervisor -p sandbox-supervisor

# The supervisor as the image has it, static, and what measures it. Best on a machine that does nothing else.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')

bench: $(TOOLCHAIN)
	$(call say,'Supervisor$(comma) as in the image')
	@RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --profile supervisor -p sandbox-supervisor --target $(HOST)
	$(call say,'Bench: a minute')
	@cargo bench --locked -p sandbox-supervisor --bench speed -- \
	  $(abspath target/$(HOST)/supervisor/sandbox-supervisor) $(abspath target/bench.json)

# ---- Serving and testing -------------------------------------------------------------------------

dev: setup
	@PORT=$(PORT) ENGINE=$(ENGINE) exec node dev/serve.mjs

test: setup example
	@ENGINES=$(ENGINES) exec node dev/check.mjs

clean:
	rm -rf build target .wrangler public/vendor
