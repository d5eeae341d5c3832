#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Feeds the parsers and state machines what a fuzzer thinks of, under AddressSanitizer.
#   scripts/fuzz.sh STUN [seconds]    runs one target (default: 600 s); new inputs join its corpus
#   scripts/fuzz.sh --check           runs each committed corpus once; scripts/test.sh --long does that
#   scripts/fuzz.sh --minimize        keeps of each corpus what reaches code that nothing smaller reaches
set -euo pipefail
cd "$(dirname "$0")/.."
export SWIFT_BACKTRACE=enable=no

targets=()
for folder in Fuzzers/Corpus/*/; do targets+=("$(basename "$folder")"); done

build() {
  # Of several -sanitize= the compiler takes the last one, hence one for both; lld would drop the coverage counters as
  # unused sections.
  local flags=(-c release --package-path Fuzzers --sanitize fuzzer --sanitize address)
  swift build "${flags[@]}" -Xswiftc -sanitize=fuzzer,address \
    -Xswiftc -use-ld=lld -Xlinker -z -Xlinker nostart-stop-gc
  bin=$(swift build "${flags[@]}" --show-bin-path)
}

case "${1:-}" in
  --check)
    build
    for target in "${targets[@]}"; do "$bin/${target}Fuzzer" -runs=0 "Fuzzers/Corpus/$target"; done
    ;;
  --minimize)
    build
    for target in "${targets[@]}"; do
      smaller=$(mktemp -d)
      "$bin/${target}Fuzzer" -merge=1 "$smaller" "Fuzzers/Corpus/$target"
      rm -rf "Fuzzers/Corpus/$target"
      mv "$smaller" "Fuzzers/Corpus/$target"
      chmod 755 "Fuzzers/Corpus/$target"
    done
    ;;
  "" | -*)
    echo "usage: scripts/fuzz.sh TARGET [seconds] | --check | --minimize; targets: ${targets[*]}" >&2
    exit 64
    ;;
  *)
    build
    mkdir -p .build/fuzz
    exec "$bin/${1}Fuzzer" -max_total_time="${2:-600}" -max_len=4096 -timeout=10 -rss_limit_mb=2048 \
      -artifact_prefix=".build/fuzz/$1-" "Fuzzers/Corpus/$1"
    ;;
esac
