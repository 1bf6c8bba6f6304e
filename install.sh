#!/usr/bin/env bash
# Picket's installer. `sudo ./install.sh --help` says what it can do.
set -euo pipefail
unset CDPATH
# Files named by the caller are relative to this.
readonly CALLED_FROM=$PWD
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"
# `su` without `-` leaves these out, and dpkg, ip and nft are in them.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

readonly BUN_VERSION=1.4.5
readonly TOOLS=$PWD/.picket/tools
# What a running site and agent need, and what the tests need besides.
readonly RUN_PACKAGES=(libbpf1 nftables iproute2 util-linux ca-certificates)
readonly TEST_PACKAGES=(tmux clang llvm libbpf-dev git procps debootstrap shellcheck curl openssl libfaketime)
# In emulation: programs of arm64, and whole machines, with disks that lose their power.
readonly EMULATION_PACKAGES=(qemu-user-static qemu-system-arm qemu-system-x86 e2fsprogs cpio xz-utils)

say() { printf 'install: %s\n' "$*" >&2; }
die() { printf 'install: %s\n' "$*" >&2; exit 1; }

usage() {
  cat <<'TEXT'
Usage: sudo ./install.sh --demo [--headless]   site, agent and console on this host, with keys made here
       sudo ./install.sh --test                install what the tests need, and run them all
       sudo ./install.sh --site [--name SITE] [--host ADDRESS]... [--operator public.json | --operator-home DIR]
                                               a site on this host, as the service picket-site
       sudo ./install.sh --device --site-url URL --token-file FILE
                                               make this host a device of a site; its agent comes from there
       sudo ./install.sh --upgrade [--operator-home DIR]
                                               bring what is installed here up to date; data stays
       sudo ./install.sh --uninstall [--purge] remove it; --purge removes its data too

--demo      keeps its data in ./.picket; Ctrl-C stops everything. The demo's device runs in a network
            namespace of its own, so isolating it cuts nobody off.
--headless  no console: stay in the foreground and log. Chosen by itself where there is no terminal.
--site      without --host: this host's address and name. Without --operator the operator's keys are made, and kept,
            in ~/.config/picket of whoever calls sudo.
--device    what else it takes says install/device.sh --help. docs/install.md has the whole story.

Works on Debian 12 and later, Raspberry Pi OS 12 (64 bit) and Ubuntu 24.04, on x86_64 and aarch64.
Takes packages from your distribution as it is set up now; changes no apt configuration.
TEXT
}

check_host() {
  [ "$(id -u)" = 0 ] || die "needs root, to load BPF and make a network namespace: run sudo ./install.sh $*"
  command -v apt-get >/dev/null || die "this system has no apt-get: Picket installs on Debian, Raspberry Pi OS and Ubuntu"
  local architecture
  architecture=$(dpkg --print-architecture)
  case "$architecture" in
    amd64 | arm64) ;;
    armhf) die "this is a 32-bit system (armhf$([ "$(uname -m)" != aarch64 ] || echo ' with a 64-bit kernel: its programs are 32-bit')): Bun and eBPF need the 64-bit Raspberry Pi OS" ;;
    *) die "$architecture is not supported: Picket runs on amd64 and arm64" ;;
  esac
  # libbpf.so.1 is the interface the agent loads; Ubuntu 22.04 and Debian 11 have libbpf0 only.
  local id='' version='' name=''
  id=$(. /etc/os-release && echo "${ID:-}")
  version=$(. /etc/os-release && echo "${VERSION_ID:-}")
  name=$(. /etc/os-release && echo "${PRETTY_NAME:-this system}")
  case "$id" in
    # Debian testing has no VERSION_ID.
    ubuntu) [ -z "$version" ] || dpkg --compare-versions "$version" ge 24.04 || die "$name has libbpf 0.5, and the agent needs libbpf 1: use Ubuntu 24.04 or Debian 12" ;;
    debian | raspbian) [ -z "$version" ] || dpkg --compare-versions "$version" ge 12 || die "$name has libbpf 0, and the agent needs libbpf 1: use Debian 12 or Raspberry Pi OS 12" ;;
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
  # The lists may be missing or old: then the first try fails, and fresh ones are fetched.
  apt_install "${missing[@]}" >/dev/null 2>&1 && return 0
  apt-get update -qq || say "apt-get update failed; trying with the package lists there are"
  apt_install "${missing[@]}" >/dev/null ||
    die "apt-get could not install ${missing[*]}: is this machine online? \`apt-get install ${missing[*]}\` by hand shows more"
}

# A new machine's own updates may hold dpkg's lock; services are not ours to restart (needrestart on Ubuntu).
apt_install() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# Bun and what it downloads go under ./.picket/tools, so nothing global is changed.
export BUN_INSTALL_CACHE_DIR=$TOOLS/cache BUN_RUNTIME_TRANSPILER_CACHE_PATH=$TOOLS/cache/transpiled npm_config_cache=$TOOLS/cache/npm

install_bun() {
  local candidate
  for candidate in "$TOOLS/bin/bun" "$(command -v bun || true)"; do
    if is_bun "$candidate"; then
      BUN=$candidate
      return
    fi
  done
  BUN=$TOOLS/bin/bun
  say "installing Bun $BUN_VERSION into .picket/tools"
  mkdir -p "$TOOLS/bin"
  if command -v npm >/dev/null && bun_from_npm; then return; fi
  install_packages curl unzip
  if bun_from_its_installer; then return; fi
  say "Bun's own installer failed; trying the npm registry"
  install_packages npm
  bun_from_npm || die "Bun $BUN_VERSION could be had neither from its own installer nor from npm (see $TOOLS/install.log): is this machine online?"
}

is_bun() { [ -n "$1" ] && [ "$("$1" --version 2>/dev/null || true)" = "$BUN_VERSION" ]; }

bun_from_npm() {
  npm install --no-audit --no-fund --prefix "$TOOLS" "bun@$BUN_VERSION" >>"$TOOLS/install.log" 2>&1 || return 1
  ln -sf ../node_modules/.bin/bun "$TOOLS/bin/bun"
  is_bun "$TOOLS/bin/bun"
}

# The installer writes to the profile of whoever calls it: HOME keeps it in our folder.
bun_from_its_installer() {
  curl -fsSL --connect-timeout 10 https://bun.sh/install 2>>"$TOOLS/install.log" |
    HOME=$TOOLS BUN_INSTALL=$TOOLS bash -s "bun-v$BUN_VERSION" >>"$TOOLS/install.log" 2>&1 &&
    is_bun "$TOOLS/bin/bun"
}

install_dependencies() {
  # Tests and scripts start plain `bun`.
  PATH=$(dirname -- "$BUN"):$PATH
  "$BUN" install --frozen-lockfile --silent || die "bun install failed: is the npm registry reachable?"
}

arch() { case "$(dpkg --print-architecture)" in amd64) echo x64 ;; arm64) echo arm64 ;; esac; }

# The executables are built anew only when a source is newer, so a second demo starts at once. picket is the one built last.
build() {
  local out
  out=dist/linux-$(arch)
  if [ -x "$out/picket" ] && [ -x "$out/picket-agent" ] &&
    [ -z "$(find agent broker cli detector models node-nftables protocol rules tui bun.lock build.ts compile.ts distribution.ts install.sh tsconfig.json \
      -name node_modules -prune -o -type f -newer "$out/picket" -print -quit)" ]; then
    return
  fi
  say "building picket and picket-agent"
  # Not bun run: where there is no node it leaves a folder in /tmp.
  "$BUN" build.ts --arch "$(arch)" >&2 || die "the build failed, see above"
}

# What sudo made in the user's checkout belongs to the user; .picket holds the data of programs that run as root.
give_back() {
  [ -n "${SUDO_UID:-}" ] || return 0
  find . -maxdepth 2 \( -name node_modules -o -path ./dist \) -prune -exec chown -hR "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" {} +
}

demo() {
  trap give_back EXIT
  install_packages "${RUN_PACKAGES[@]}"
  install_bun
  install_dependencies
  build
  give_back
  exec "dist/linux-$(arch)/picket" up --demo "$@"
}

tests() {
  trap give_back EXIT
  install_packages "${RUN_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${EMULATION_PACKAGES[@]}"
  install_bun
  install_dependencies
  # In a container without the right to mount, the tests that need it skip, each with its reason.
  unshare --mount true 2>/dev/null || { "$BUN" test/all.ts; return; }
  # Mounts and network namespaces of the tests are seen by nobody else and end with this mount namespace.
  unshare --mount --propagation private bash -c 'mkdir -p /run/netns && mount -t tmpfs none /run/netns && exec "$@"' - "$BUN" test/all.ts
}

# The site first: a device may be one of its own.
upgrade() { # --operator-home DIR
  trap give_back EXIT
  local agent=/opt/picket/agent/device.sh identity=/var/lib/picket/agent/identity.json
  # shellcheck source=install/site.sh
  . install/site.sh
  [ -e "$SITE_STATE/site.json" ] || [ -e "$identity" ] || die "neither a site nor a device is installed here"
  if [ -e "$SITE_STATE/site.json" ]; then upgrade_site "$@"; fi
  if [ -e "$agent" ]; then
    "$agent" --upgrade
  elif [ -e "$identity" ]; then
    install/device.sh --upgrade
  fi
}

uninstall() { # --purge
  # shellcheck source=install/site.sh
  . install/site.sh
  if [ -e /opt/picket/agent ] || [ -e /etc/systemd/system/picket-agent.service ] || { [ -n "$1" ] && [ -e /var/lib/picket/agent ]; }; then
    install/device.sh --uninstall ${1:+"$1"}
  fi
  if [ -e "$SITE_UNIT" ] || [ -e "$SITE_STATE" ]; then uninstall_site "$1"; fi
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
  --site)
    shift
    check_host --site "$@"
    # shellcheck source=install/site.sh
    . install/site.sh
    trap give_back EXIT
    install_site "$@"
    ;;
  --device)
    here=$PWD
    cd -- "$CALLED_FROM"
    exec "$here/install/device.sh" "$@"
    ;;
  --upgrade)
    shift
    [ $# -eq 0 ] || { [ $# -eq 2 ] && [ "$1" = --operator-home ]; } || { usage >&2; exit 2; }
    check_host --upgrade "$@"
    upgrade "$@"
    ;;
  --uninstall)
    [ $# -eq 1 ] || [ "$*" = '--uninstall --purge' ] || { usage >&2; exit 2; }
    [ "$(id -u)" = 0 ] || die "needs root: run sudo ./install.sh $*"
    uninstall "${2:-}"
    ;;
  --help | -h) usage ;;
  *) usage >&2; exit 2 ;;
esac
