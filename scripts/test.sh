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
swift format lint --strict --recursive --parallel Package.swift Sources Tests Benchmarks Fuzzers

step "compile"
swift build --build-tests

step "unit and simulation tests"
swift test --skip-build --disable-xctest

if $long; then
  step "data channels' messages over 20,000 bad links"
  SCTP_SEEDS=20000 swift test --skip-build --disable-xctest --filter SCTPTests.AssociationTests
  step "the same under AddressSanitizer"
  SWIFT_BACKTRACE=enable=no LSAN_OPTIONS=suppressions=scripts/leak-suppressions.txt \
    swift test --disable-xctest --sanitize address --scratch-path .build/address \
    -Xswiftc -use-ld=lld
  step "the same under ThreadSanitizer"
  SWIFT_BACKTRACE=enable=no swift test --disable-xctest --sanitize thread --scratch-path .build/thread \
    -Xswiftc -use-ld=lld
  step "the fuzzers' corpora"
  scripts/fuzz.sh --check
  step "the release build holds no ICU"
  swift build -c release --product kvs-webrtc --static-swift-stdlib --scratch-path .build/static
  if nm -C .build/static/release/kvs-webrtc | grep -q ucal_; then
    echo "the release binary links ICU: something imports all of Foundation" >&2
    exit 1
  fi
fi

step "programs and browsers"
.venv/bin/python -m pytest Tests/EndToEnd -p no:cacheprovider -v --color=no
