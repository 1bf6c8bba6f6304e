#!/usr/bin/env bash
# Picket's installer. `sudo ./install.sh --help` says what it can do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly BUN_VERSION=1.4.5
readonly TOOLS=$PWD/.picket/tools
# What a running site and agent need, and what the tests need besides.
readonly RUN_PACKAGES=(libbpf1 nftables iproute2 util-linux ca-certificates)
readonly TEST_PACKAGES=(tmux clang libbpf-dev git)

say() { printf 'install: %s\n' "$*" >&2; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

usage() {
  cat <<'TEXT'
Usage: sudo ./install.sh --demo [--headless]   site, agent and console on this host, with keys made here
       sudo ./install.sh --test                install what the tests need, and run them all

--demo      keeps its data in ./.picket; Ctrl-C stops everything. The demo's device runs in a network
            namespace of its own, so isolating it cuts nobody off.
--headless  no console: stay in the foreground and log. Chosen by itself where there is no terminal.

Works on Debian 12 and later, Raspberry Pi OS 12 (64 bit) and Ubuntu 24.04, on x86_64 and aarch64.
Takes packages from your distribution as it is set up now; changes no apt configuration.
TEXT
}

check_host() {
  [ "$(id -u)" = 0 ] || die "needs root, to load BPF and make a network namespace: run sudo ./install.sh $*"
  command -v apt-get >/dev/null || die "this system has no apt-get: Picket installs on Debian, Raspberry Pi OS and Ubuntu"
  case "$(dpkg --print-architecture)" in
    amd64 | arm64) ;;
    armhf) die "this is a 32-bit system (armhf): Bun and eBPF need the 64-bit Raspberry Pi OS" ;;
    *) die "$(dpkg --print-architecture) is not supported: Picket runs on amd64 and arm64" ;;
  esac
  # libbpf.so.1 is the interface the agent loads; Ubuntu 22.04 and Debian 11 have libbpf0 only.
  local id='' version='' name=''
  id=$(. /etc/os-release && echo "${ID:-}")
  version=$(. /etc/os-release && echo "${VERSION_ID:-0}")
  name=$(. /etc/os-release && echo "${PRETTY_NAME:-this system}")
  case "$id" in
    ubuntu) dpkg --compare-versions "$version" ge 24.04 || die "$name has libbpf 0.5, and the agent needs libbpf 1: use Ubuntu 24.04 or Debian 12" ;;
    debian | raspbian) dpkg --compare-versions "$version" ge 12 || die "$name has libbpf 0, and the agent needs libbpf 1: use Debian 12 or Raspberry Pi OS 12" ;;
    *) say "$name is not one we test on; going on" ;;
  esac
}

install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 && return 0
  apt-get update -qq || say "apt-get update failed; trying with the package lists there are"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || die "apt-get could not install: ${missing[*]}"
}

# Bun goes under ./.picket/tools, so nothing global is changed.
install_bun() {
  local candidate
  for candidate in "$TOOLS/bin/bun" "$(command -v bun || true)"; do
    if [ -n "$candidate" ] && [ "$("$candidate" --version 2>/dev/null || true)" = "$BUN_VERSION" ]; then
      BUN=$candidate
      return
    fi
  done
  say "installing Bun $BUN_VERSION into .picket/tools"
  mkdir -p "$TOOLS/bin"
  if command -v npm >/dev/null && bun_from_npm; then return; fi
  install_packages curl unzip
  if curl -fsSL --connect-timeout 10 https://bun.sh/install | BUN_INSTALL="$TOOLS" HOME="$TOOLS" bash -s "bun-v$BUN_VERSION" >/dev/null 2>&1 && use_bun; then return; fi
  install_packages npm
  bun_from_npm || die "Bun $BUN_VERSION could be had neither from npm nor from its own installer: is this machine online?"
}

bun_from_npm() {
  npm install --silent --no-audit --no-fund --prefix "$TOOLS" "bun@$BUN_VERSION" >/dev/null 2>&1 || return 1
  ln -sf ../node_modules/.bin/bun "$TOOLS/bin/bun"
  use_bun
}

use_bun() {
  [ "$("$TOOLS/bin/bun" --version 2>/dev/null || true)" = "$BUN_VERSION" ] || return 1
  BUN=$TOOLS/bin/bun
}

install_dependencies() {
  export PATH="$(dirname "$BUN"):$PATH"
  "$BUN" install --frozen-lockfile --silent || die "bun install failed: is the npm registry reachable?"
}

arch() { case "$(dpkg --print-architecture)" in amd64) echo x64 ;; arm64) echo arm64 ;; esac; }

# The executables are built anew only when a source is newer, so a second demo starts at once.
build() {
  local out=dist/linux-$(arch)
  if [ -x "$out/picket" ] && [ -x "$out/picket-agent" ] &&
    [ -z "$(find agent broker cli detector node-nftables protocol rules tui bun.lock build.ts -newer "$out/picket-agent" -not -path '*/node_modules*' -type f -print -quit)" ]; then
    return
  fi
  say "building picket and picket-agent"
  "$BUN" run --silent build >&2
}

# What sudo made in the user's checkout belongs to the user.
give_back() {
  [ -n "${SUDO_UID:-}" ] || return 0
  local path
  for path in node_modules dist; do
    if [ -e "$path" ]; then chown -R "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$path"; fi
  done
}

demo() {
  install_packages "${RUN_PACKAGES[@]}"
  install_bun
  install_dependencies
  build
  give_back
  exec "dist/linux-$(arch)/picket" up --demo "$@"
}

tests() {
  install_packages "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
  install_bun
  install_dependencies
  trap give_back EXIT
  "$BUN" run --silent test/all.ts
}

case "${1:-}" in
  --demo)
    shift
    [ $# -eq 0 ] || [ "$*" = --headless ] || { usage >&2; exit 2; }
    check_host --demo "$@"
    demo "$@"
    ;;
  --test)
    [ $# -eq 1 ] || { usage >&2; exit 2; }
    check_host --test
    tests
    ;;
  --help | -h) usage ;;
  *) usage >&2; exit 2 ;;
esac
