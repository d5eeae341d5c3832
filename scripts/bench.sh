#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and runs the benchmarks in release mode and prints their figures. They are no tests: nothing fails for being slow.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
swift build -c release --package-path Benchmarks
bin=$(swift build -c release --package-path Benchmarks --show-bin-path)
"$bin/ConnectionBenchmark"
"$bin/DataChannelBenchmark"
