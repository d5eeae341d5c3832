#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# All tests, from a clean checkout on a bare machine: set-up, style, compile, unit and simulation tests, then the
# real programs with browsers. `--long` adds the sanitizers and the checks of the release build.
set -euo pipefail
cd "$(dirname "$0")/.."

long=false
case "${1:-}" in
  "") ;;
  --long) long=true ;;
  *) echo "usage: scripts/test.sh [--long]" >&2; exit 64 ;;
esac

started=$SECONDS
step() { printf '\n== %s (%d s so far)\n' "$*" $((SECONDS - started)); }

step "set-up"
scripts/setup.sh --tests

step "style"
swift format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks Fuzzers Tools

# First, so that what both share is compiled once.
step "compile without data channels"
swift build --disable-default-traits --product kvs-webrtc

step "compile"
swift build --build-tests

# Apart from each other: what computes without a pause must not keep what talks over sockets from its time limits.
over_sockets='^(WebRTCTests|KinesisVideoTests|LocalKinesisVideoTests|KVSApplicationsTests|EndToEndTests)\.'
swift_tests() {
  swift test "$@" --disable-xctest --skip "$over_sockets"
  swift test "$@" --disable-xctest --skip-build --filter "$over_sockets"
}

step "unit and simulation tests"
swift_tests --skip-build

step "the link emulator"
swift test --package-path Tools/LinkEmulator -c release --disable-xctest

if $long; then
  step "paths through 10,000 random networks, and every pair of NAT kinds twenty times"
  KVS_LONG_TESTS=1 swift test --skip-build --disable-xctest \
    --filter 'NATMatrixTests|FirewallMatrixTests|RandomNetworkTests|PathFaultTests|RelayFaultTests' | tail -n 3
  step "data channels' messages over 20,000 bad links"
  SCTP_SEEDS=20000 swift test --skip-build --disable-xctest --filter SCTPTests.AssociationTests
  step "all tests under AddressSanitizer"
  SWIFT_BACKTRACE=enable=no LSAN_OPTIONS=suppressions=$PWD/scripts/leak-suppressions.txt \
    swift_tests --sanitize address --scratch-path .build/address -Xswiftc -use-ld=lld
  step "the same under ThreadSanitizer"
  SWIFT_BACKTRACE=enable=no TSAN_OPTIONS=suppressions=$PWD/scripts/thread-suppressions.txt \
    swift_tests --sanitize thread --scratch-path .build/thread -Xswiftc -use-ld=lld
  step "the fuzzers' corpora"
  scripts/fuzz.sh --check
  step "the release build holds no ICU"
  swift build -c release --product kvs-webrtc --static-swift-stdlib --scratch-path .build/static
  if nm -C .build/static/release/kvs-webrtc | grep -q ucal_; then
    echo "the release binary links ICU: something imports all of Foundation" >&2
    exit 1
  fi
fi

test_options=()
if $long; then test_options+=(--long); fi

step "programs and browsers"
.venv/bin/python -m pytest Tests/EndToEnd "${test_options[@]}" -p no:cacheprovider -v --color=no

# Skipped, with the reason, where the machine allows no network namespaces. The limit is ten times what it takes.
step "programs behind routers"
timeout --signal INT 1200 .venv/bin/python -m pytest Tests/Network "${test_options[@]}" \
  -p no:cacheprovider -v -rs --color=no
