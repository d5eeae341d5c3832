#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Data channels through the link emulator, between two network namespaces of its own: 40 ms of round trip without and
# with loss, and a bottleneck. Needs root. Tools/LinkEmulator/measure.sh says what TCP makes of such a path.
#   scripts/bench-paths.sh [benchmark options, such as --seconds 10]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
for package in Benchmarks Tools/LinkEmulator; do swift build -c release --package-path "$package"; done
benchmark="$(swift build -c release --package-path Benchmarks --show-bin-path)/DataChannelBenchmark"
emulator="$(swift build -c release --package-path Tools/LinkEmulator --show-bin-path)/link-emulator"

here="bench-$$-here" there="bench-$$-there" running=""
clean_up() {
  [[ -z $running ]] || kill "$running" 2>/dev/null || true
  wait
  ip netns del "$here" 2>/dev/null || true
  ip netns del "$there" 2>/dev/null || true
}
trap clean_up EXIT

# Runs the benchmark over a link of these conditions.
over() {
  local forth=$1 back=$2
  shift 2
  ip netns add "$here"
  ip netns add "$there"
  exec {output}< <(exec "$emulator" --left "$here/link" --right "$there/link" --forth "$forth" --back "$back" \
    --packets-max 65536)
  running=$!
  read -r _ <&"$output" # "ready"
  ip -n "$here" addr add 10.9.0.1 peer 10.9.0.2 dev link
  ip -n "$there" addr add 10.9.0.2 peer 10.9.0.1 dev link
  echo "== $forth | $back | $*"
  ip netns exec "$here" "$benchmark" --address 10.9.0.1 --peer-address 10.9.0.2 \
    --peer-command "ip netns exec $there" --no-ping-pong --message 65536 --warm-up 3 "$@"
  kill "$running"
  wait "$running" 2>/dev/null || true
  running=""
  ip netns del "$here"
  ip netns del "$there"
}

over delay=20ms delay=20ms "$@"
over delay=20ms delay=20ms --model-based "$@"
over 'delay=20ms loss=1%' 'delay=20ms loss=1%' "$@"
over 'delay=20ms loss=1%' 'delay=20ms loss=1%' --model-based "$@"
over 'delay=20ms rate=100mbit queue=200ms' delay=20ms "$@"
over 'delay=20ms rate=100mbit queue=200ms' delay=20ms --model-based "$@"
