# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Portcullis authors

# Everything sets itself up on a machine that has Swift and apt. `make help` lists the targets.

SWIFT ?= swift
# The Swift runtime is linked in, so that the binary runs where no Swift is installed. About exclusivity: see the end of Package.swift.
RELEASE := -c release --static-swift-stdlib -Xswiftc -enforce-exclusivity=unchecked
BINARY := .build/release/portcullis
BENCH := .build/release/portcullis-bench

BUILD_PACKAGES := libhiredis-dev libssl-dev libcrypt-dev zlib1g-dev pkg-config
TEST_PACKAGES := redis-server openssl curl python3-venv iproute2 util-linux
# Python tools of the tests, see Tests/requirements.txt.
TEST_PYTHON := .build/python
BROWSER_PACKAGES := chromium chromium-driver fonts-dejavu-core python3-selenium

.PHONY: help run build bench test test-browser model fuzz races gate compare bench-check bench-contrast bench-faults lint format clean packages test-packages browser-packages gate-packages model-packages fault-packages bench-packages compare-packages

help:
	@echo 'make run     build and start the demo: gateway, sample service, two users'
	@echo 'make build   build $(BINARY)'
	@echo 'make bench   build $(BENCH)'
	@echo 'make test    build and run every test that needs no browser'
	@echo 'make test-browser   the example of a legacy login, in headless Chromium'
	@echo 'make model   check the model of the logout protocol, and that each of its rules is needed'
	@echo 'make fuzz    fuzz every parser of hostile bytes, FUZZ_SECONDS=600 each'
	@echo 'make races   repeat what goes wrong only sometimes, ROUNDS=1000 times each, and FAULT_ROUNDS=100 times what a fleet has to recover from'
	@echo 'make gate    count the instructions and allocations of a request, and fail where they are too many'
	@echo 'make compare CPU, latency and memory beside nginx, HAProxy, Envoy and Caddy, on this machine: 45 minutes'
	@echo 'make bench-check     whether portcullis-bench measures what wrk and h2load measure'
	@echo 'make bench-contrast  what a logout is worth where gateways cache: portcullis-bench against nginx'
	@echo 'make bench-faults    logouts while a gateway is paused, Redis fails over, a gateway is cut off'
	@echo 'make lint    check the format of all sources'
	@echo 'make format  put all sources into that format'

run: build
	$(BINARY) demo

build: packages
	$(SWIFT) build $(RELEASE) --product portcullis

bench: packages
	$(SWIFT) build $(RELEASE) --product portcullis-bench

# One target after the other: each brings servers of its own, and all at once would measure the machine.
TEST_TARGETS := $(notdir $(wildcard Tests/*Tests))
# Whole fleets and faults of Redis: one test after the other.
TEST_GROUPS := Fleet RedisFault

# Tests wait more than they compute; all of a target at once would starve those that watch leases of some seconds.
test: export SWT_EXPERIMENTAL_MAXIMUM_PARALLELIZATION_WIDTH ?= 8
test: packages test-packages $(TEST_PYTHON)/ready
	$(SWIFT) build --build-tests
	@set -e; for target in $(TEST_TARGETS); do echo "== $$target"; \
		$(SWIFT) test --skip-build --filter "^$$target\." --skip '^IntegrationTests\.(Fleet|RedisFault)'; done
	@set -e; for group in $(TEST_GROUPS); do echo "== $$group""Tests"; \
		$(SWIFT) test --skip-build --no-parallel --filter "^IntegrationTests\.$$group"; done

# Debian's selenium is for Debian's Python. Built as the tests are: what has been built for them is not built again.
test-browser: packages browser-packages
	$(SWIFT) build --build-tests
	PORTCULLIS=$$($(SWIFT) build --show-bin-path)/portcullis /usr/bin/python3 deploy/examples/legacy-login/test_browser.py

model: model-packages
	Tests/Model/check.py

FUZZ_SECONDS ?= 600
fuzz: packages test-packages
	$(SWIFT) build --build-tests
	PORTCULLIS_FUZZ_SECONDS=$(FUZZ_SECONDS) $(SWIFT) test --skip-build --filter Fuzz

ROUNDS ?= 1000
# Of a fault from which a fleet has to recover, some seconds each time.
FAULT_ROUNDS ?= 100
races: packages test-packages
	$(SWIFT) build --build-tests
	PORTCULLIS_ROUNDS=$(ROUNDS) $(SWIFT) test --skip-build --no-parallel --filter 'Race|Restart|FleetLogout'
	PORTCULLIS_ROUNDS=$(FAULT_ROUNDS) $(SWIFT) test --skip-build --no-parallel --filter 'FleetSentinel|FleetCluster|FleetStoreFault|FleetFault'

gate: build gate-packages
	bench/gate/gate.py --binary $(BINARY)

compare: build bench compare-packages
	bench/compare/compare.py --binary $(BINARY) $(COMPARE)

bench-check: bench bench-packages
	bench/check.py --bench $(BENCH)

bench-contrast: bench bench-packages
	bench/adapters/cached_auth.py --bench $(BENCH)

bench-faults: build bench fault-packages
	bench/faults.py --binary $(BINARY) --bench $(BENCH)

lint:
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests

format:
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

clean:
	rm -rf .build

packages:
	@.ci/packages $(BUILD_PACKAGES)

test-packages:
	@.ci/packages $(TEST_PACKAGES)

$(TEST_PYTHON)/ready: Tests/requirements.txt | test-packages
	@.ci/python $(TEST_PYTHON) $<

browser-packages:
	@.ci/packages $(BROWSER_PACKAGES)

gate-packages:
	@.ci/packages valgrind binutils redis-server python3

model-packages:
	@.ci/packages spin gcc libc6-dev python3

fault-packages:
	@.ci/packages redis-server iproute2 util-linux python3

bench-packages:
	@.ci/packages nginx wrk nghttp2-client openssl python3

# A peer that cannot be had is left out of the comparison.
ENVOY := .build/envoy
compare-packages:
	@.ci/packages nginx wrk nghttp2-client redis-server openssl curl python3 python3-venv util-linux
	@for names in haproxy caddy 'libnginx-mod-http-lua lua-resty-core lua-resty-lrucache lua-cjson'; do \
		.ci/packages $$names || echo "left out: what needs $$names" >&2; done
	@[ $(ENVOY)/ready -nt bench/compare/requirements.txt ] || .ci/python $(ENVOY) bench/compare/requirements.txt || echo 'left out: Envoy' >&2
