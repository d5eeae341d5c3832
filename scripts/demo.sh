#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the program if need be and runs the demo: a local Kinesis Video service, a camera that plays the sample
# clip, and a page to watch it. Options are those of `kvs-webrtc demo`, for example --port 9000 or --host 0.0.0.0.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
echo "demo: building (the first time takes some minutes, later runs start at once)"
swift build -c release --product kvs-webrtc
exec "$(swift build -c release --show-bin-path)/kvs-webrtc" demo "$@"
