# The commands of the project. Meson and ninja do the work; tools/ has the scripts.

MAKEFLAGS += --no-print-directory
# Debian's tools first, whatever else stands in front of them.
export PATH := /usr/sbin:/usr/bin:/sbin:/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE := 1

NINJA = ninja -j2 -C
PYTEST = /usr/bin/python3 -m pytest -p no:cacheprovider -q -rfEs
C_FILES = $(shell find src tests bench -name '*.[ch]')

.PHONY: help build run check test crash crash-mutants salvage format clean packages test-packages asan bench bench-tools bench-start bench-idle \
	bench-relay bench-quick bench-dane bench-queue

help:
	@echo 'make build          optimised binary at build/postern'
	@echo 'make run            build, then a gateway and a mail server on loopback, and one mail through them'
	@echo 'make check          one sanitized build, unit tests, smoke tests, hygiene; under two minutes'
	@echo 'make test           everything; the last line is "N passed, N failed"'
	@echo 'make crash          the power-cut test alone, with 2,000 images instead of 300'
	@echo 'make crash-mutants  show that each sync is needed: without it the power-cut test fails'
	@echo 'make salvage        1,000 damaged queues: every whole mail is delivered, the rest reported'
	@echo 'make bench          start, idle sessions, and relay beside Postfix: hours, can be interrupted; writes docs/performance.md'
	@echo 'make bench-relay    relay alone (CELLS, BENCH_OPTIONS), printed only; so bench-start, bench-idle'
	@echo 'make bench-quick    system calls of one relayed mail: a number to compare before and after a change'
	@echo 'make bench-dane     what DANE costs, printed only'
	@echo 'make bench-queue    figures of the queue; bench/README.md says what they mean'
	@echo 'make format         clang-format all C files'
	@echo 'make clean          remove build/'

packages:
	@tools/install-packages build

test-packages:
	@tools/install-packages build test

build: packages
	@tools/configure build/meson
	@$(NINJA) build/meson
	@ln -sfn meson/postern build/postern

run: build
	@tools/demo

asan: test-packages
	@tools/configure build/asan
	@$(NINJA) build/asan

check: asan
	@meson test -C build/asan --no-rebuild --num-processes 2 --print-errorlogs
	@$(PYTEST) -m 'smoke or hygiene' tests/system

test: test-packages
	@tools/test-all

crash: asan
	@tests/crash/run --build build/asan --images 2000

crash-mutants: asan
	@tests/crash/mutants

salvage: asan
	@tests/crash/salvage --build build/asan --images 1000 --cuts 200

BENCH = build/bench/load build/bench/sink

build/bench/%: bench/%.c bench/body.h bench/figures.h
	@mkdir -p build/bench
	@$(CC) -std=c17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o $@ $< -lssl -lcrypto

bench: bench-tools
	@bench/start.py --write
	@bench/idle.py --write
	@bench/relay.py --resume build/bench/relay.jsonl --write

bench-tools: build test-packages $(BENCH)

bench-start: bench-tools
	@bench/start.py $(BENCH_OPTIONS)

bench-idle: bench-tools
	@bench/idle.py $(BENCH_OPTIONS)

bench-relay: bench-tools
	@bench/relay.py $(BENCH_OPTIONS) $(CELLS)

bench-quick: bench-tools
	@bench/quick.py $(BENCH_OPTIONS)

bench-dane: bench-tools
	@bench/dane.py $(BENCH_OPTIONS)

bench-queue: bench-tools
	@bench/bench_queue.py $(FIGURES)

format: test-packages
	@clang-format -i $(C_FILES)

clean:
	rm -rf build
