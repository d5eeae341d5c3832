#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How much the emulator forwards, by iperf3 between two namespaces of its own. Needs root.
set -euo pipefail
cd "$(dirname "$0")"

conditions=${1:-delay=1ms}
swift build -c release --product link-emulator
here="measure-$$-here" there="measure-$$-there"
pids=()
clean_up() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
  ip netns del "$here" 2>/dev/null || true
  ip netns del "$there" 2>/dev/null || true
}
trap clean_up EXIT
ip netns add "$here"
ip netns add "$there"
exec {emulator}< <(exec .build/release/link-emulator --left "$here/link" --right "$there/link" \
  --both "$conditions" --packets-max 65536)
pids+=("$!")
read -r _ <&"$emulator" # "ready"
ip -n "$here" addr add 10.9.0.1 peer 10.9.0.2 dev link
ip -n "$there" addr add 10.9.0.2 peer 10.9.0.1 dev link
exec {server}< <(exec ip netns exec "$there" iperf3 --server --forceflush 2>/dev/null)
pids+=("$!")
while read -r line <&"$server"; do [[ $line == *listening* ]] && break; done
echo "TCP through a link with $conditions:"
ip netns exec "$here" iperf3 --client 10.9.0.2 --time 5 --interval 0 | grep -E 'sender|receiver'
