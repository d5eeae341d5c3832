#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building, the demo and (with --tests) the tests need on Debian 12 or newer.
# It says what it does, changes nothing that is there already, and a second run takes a second.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(libssl-dev pkg-config)
# The second line is for the tests on the real kernel: namespaces, their routers, and a relay that others wrote.
test_packages=(
  chromium python3 python3-venv
  iproute2 nftables conntrack coturn
)
needed=("${build_packages[@]}")
with_tests=false
case "${1:-}" in
  "") ;;
  --tests) with_tests=true; needed+=("${test_packages[@]}") ;;
  *) echo "usage: scripts/setup.sh [--tests]" >&2; exit 64 ;;
esac

say() { printf 'setup: %s\n' "$*"; }

if ! command -v swift >/dev/null; then
  say "no Swift toolchain found: install Swift 6.3 or newer from https://www.swift.org/install/linux/" >&2
  exit 69
fi
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
if [ "$(printf '6.3\n%s\n' "$version" | sort -V | head -n 1)" != 6.3 ]; then
  say "Swift $version is too old: version 6.3 or newer is needed" >&2
  exit 69
fi

missing=()
for package in "${needed[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if ! command -v apt-get >/dev/null; then
    say "please install by your system's package manager: ${missing[*]} (Fedora's names stand in the README)" >&2
    exit 69
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "root or sudo is needed to install: ${missing[*]}" >&2; exit 77; }
    as_root=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  # Debian starts a TURN server for everybody with the package; the tests start their own, where nobody else is.
  if [[ " ${missing[*]} " == *" coturn "* ]] && [ -d /run/systemd/system ]; then
    say "switching off the service that came with coturn"
    "${as_root[@]}" systemctl disable --now coturn
  fi
fi

if $with_tests; then
  requirements=Tests/EndToEnd/requirements.txt
  stamp=.venv/requirements.txt
  if ! cmp -s "$requirements" "$stamp"; then
    say "making a Python environment in .venv: $(grep -vE '^(#|$)' "$requirements" | tr '\n' ' ')"
    python3 -m venv --clear .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r "$requirements"
    cp "$requirements" "$stamp"
  fi
fi
say "everything is in place (Swift $version)"
