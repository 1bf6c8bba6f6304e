#!/usr/bin/env bash
# Installs, upgrades and removes Picket's agent on this machine, from its own site; needs no internet. `--help` says how.
# Nothing it fetches is believed for where it came from: the token (later: the identity) names the site's CA and the operators' root by
# their hashes; the root signed a list of operators' keys; one of those signed the checksums of everything that is installed.
set -euo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
umask 022

readonly ROOT=/opt/picket STATE=/var/lib/picket/agent ETC=/etc/picket
readonly AGENT=$ROOT/agent LINK=/usr/local/bin/picket-agent
readonly UNIT=/etc/systemd/system/picket-agent.service
readonly PACKAGES=(libbpf1 nftables)
readonly TOOLS=(curl openssl ca-certificates)
# An agent that is not connected to its site after this many seconds is taken back.
readonly HEALTHY_S=${PICKET_HEALTHY_S:-60}
STAGE='' WORK='' URL='' CA='' ANCHOR='' SITE='' KEYS='' VIA=()
declare -A SUM=()

say() { printf 'picket: %s\n' "$*" >&2; }
die() { printf 'picket: %s\n' "$*" >&2; exit 1; }

usage() {
  cat <<'TEXT'
Usage: device.sh [--device] [--token-file FILE] [--site-url URL] [--name NAME] [--replace]
                                make this machine a device; without --token-file the token is the first line of standard input
       device.sh --image --token-file FILE   install everything and enrol at the next start: for the image of many cards
       device.sh --upgrade      take the agent that the site has now; the old one comes back if the new one does not get to its site
       device.sh --uninstall [--purge]   remove the agent and end isolation; --purge removes identity, buffer and configuration too

--site-url  where to fetch from, if not at the address in the token; its name or address must be in the site's certificate
--replace   give up the identity this machine has

The token comes from `picket token create`. Files: /opt/picket/agent, /etc/picket/agent.toml, /var/lib/picket/agent.
TEXT
}

# --- this machine ---

check_host() {
  [ "$(id -u)" = 0 ] || die "needs root: run it with sudo"
  command -v dpkg >/dev/null || die "this system has no dpkg: Picket installs on Debian, Raspberry Pi OS and Ubuntu"
  local architecture
  architecture=$(dpkg --print-architecture)
  case "$architecture" in
    amd64) ARCH=x64 ;;
    arm64) ARCH=arm64 ;;
    *) die "$(why_not "$architecture" "$(uname -m)")" ;;
  esac
  command -v systemctl >/dev/null || die "this system has no systemd, which starts the agent: run picket-agent run by other means (docs/install.md)"
}

why_not() {
  case "$1-$2" in
    armhf-aarch64 | armel-aarch64 | i386-x86_64)
      printf "the kernel is 64-bit (%s) but this system's programs are 32-bit (%s), and the agent is a 64-bit program: install the 64-bit Raspberry Pi OS or Debian" "$2" "$1"
      ;;
    armhf-* | armel-* | i386-*) printf 'this is a 32-bit system (%s): the agent needs a 64-bit one' "$1" ;;
    *) printf '%s is not supported: the agent runs on amd64 and arm64' "$1" ;;
  esac
}

install_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]} with apt"
  apt_install "${missing[@]}" >/dev/null 2>&1 && return 0
  apt-get update -qq >/dev/null 2>&1 || true
  apt_install "${missing[@]}" >/dev/null 2>&1 && return 0
  die "${missing[*]} could not be installed with apt. Picket itself comes from your site, these come from your distribution: bring this machine on line once, or copy the .deb files here and run dpkg -i"
}

apt_install() {
  DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

# --- what is trusted, and why ---

# base64url (RFC 4648, section 5)
decode() {
  local text=${1//-/+}
  text=${text//_//}
  while ((${#text} % 4)); do text+='='; done
  base64 -d <<<"$text" 2>/dev/null
}
encode() { base64 -w0 | tr '+/' '-_' | tr -d '='; }
hash_of() { openssl dgst -sha256 -binary | encode; }

# A value of JSON in which there are no spaces.
value() { # JSON NAME
  [[ $1 =~ \"$2\":\"([^\"\\]*)\" ]] || return 1
  printf %s "${BASH_REMATCH[1]}"
}

# RFC 7638 thumbprint of an Ed25519 key.
thumbprint() { printf '{"crv":"Ed25519","kty":"OKP","x":"%s"}' "$1" | hash_of; }

# The payload of a compact JWS (EdDSA) if it was signed with the key X; nothing else of it is believed.
open_jws() { # JWS X TYP
  [[ $1 =~ ^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})$ ]] || return 1
  local header=${BASH_REMATCH[1]} payload=${BASH_REMATCH[2]} signature=${BASH_REMATCH[3]}
  [[ $(decode "$header") =~ ^\{\"alg\":\"EdDSA\",\"typ\":\"$3\",\"kid\":\"[A-Za-z0-9_-]{43}\"\}$ ]] || return 1
  printf %s "$header.$payload" >"$WORK/signed"
  decode "$signature" >"$WORK/signature"
  # RFC 8410: SubjectPublicKeyInfo of an Ed25519 key is this prefix and the key.
  { printf '\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00' && decode "$2"; } >"$WORK/key"
  openssl pkeyutl -verify -pubin -keyform DER -inkey "$WORK/key" -rawin -in "$WORK/signed" -sigfile "$WORK/signature" >/dev/null 2>&1 || return 1
  decode "$payload"
}

# Whoever answers may not fill the disk, however much it sends (curl's own limit needs to be told the size, before 8.4), nor hold the line for ever.
download() { # KIB ARGUMENTS...
  (
    ulimit -f "$1"
    shift
    exec curl -fsS --noproxy '*' --proto =https --connect-timeout 10 --retry-delay 2 --speed-limit 500 --speed-time 60 "$@"
  )
}

fetch() { # PATH FILE
  download 500000 --tlsv1.3 --cacert "$CA" "${VIA[@]}" --retry 5 -o "$2" "$URL$1" ||
    die "$URL$1 could not be fetched: is the site running, and its release signed (picket operator sign)?"
}

read_token() { # TEXT
  local json
  [[ $1 == picket1.* ]] || die 'this is no Picket token: it must begin with "picket1."'
  json=$(decode "${1#picket1.}") || die "this token is damaged: copy the whole line again"
  [[ $json =~ ^\{\"v\":1,\"site\":\"([a-z0-9-]{1,63})\",\"https\":\"([][A-Za-z0-9.:-]{1,260})\", ]] || die "this token is damaged: copy the whole line again"
  SITE=${BASH_REMATCH[1]} URL=https://${BASH_REMATCH[2]}
  ANCHOR=$(value "$json" anchor) || die "this token is damaged: copy the whole line again"
  CA_HASH=$(value "$json" ca) || die "this token is damaged: copy the whole line again"
}

# The one call that trusts nobody; what it brings must have the hash that the token names.
pin_ca() {
  download 64 -k --retry 2 -o "$WORK/ca.json" "$URL/v1/ca" ||
    die "$URL cannot be reached: is the address right, does port ${URL##*:} pass?"
  sed -n 's/.*"ca":"\([^"]*\)".*/\1/p' "$WORK/ca.json" | sed 's/\\n/\n/g' >"$WORK/ca.text"
  # Only the first certificate of the text is kept, written anew.
  CA=$WORK/ca.pem
  openssl x509 -in "$WORK/ca.text" -out "$CA" 2>/dev/null || die "$URL is no Picket site: it shows no CA"
  [ "$(openssl x509 -in "$CA" -noout -pubkey | openssl pkey -pubin -outform DER | hash_of)" = "$CA_HASH" ] ||
    die "$URL is not the site this token was made for: its CA has another key. Nothing was installed and the token was not sent"
}

# The newest key list that the operators' root or recovery key signed, of those given.
find_keys() { # ROOT_X RECOVERY_X JWS...
  local root=$1 recovery=$2 jws list version best=0
  shift 2
  for jws in "$@"; do
    [ -n "$jws" ] || continue
    list=$(open_jws "$jws" "$root" 'picket-keys\+jws') || list=$(open_jws "$jws" "$recovery" 'picket-keys\+jws') || continue
    [[ $list =~ ^\{\"site\":\"$SITE\",\"version\":([0-9]{1,15}),\"iat\":[0-9]+,\"keys\":\[ ]] || continue
    version=${BASH_REMATCH[1]}
    if ((version > best)); then best=$version KEYS=$list; fi
  done
  ((best > 0)) || die "no list of operators' keys is signed by the root this machine trusts: has somebody else taken over the site? Nothing was installed"
}

# Fills SUM from the site's release, after checking it. `$@`: key lists this machine knows besides.
open_release() {
  local trust root recovery jws kid entry release
  fetch /v1/install/trust "$WORK/trust"
  fetch /v1/install/release "$WORK/release"
  trust=$(head -c 200000 "$WORK/trust")
  [[ $trust =~ \"root\":\{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"([A-Za-z0-9_-]{43})\"\} ]] && root=${BASH_REMATCH[1]}
  [[ $trust =~ \"recovery\":\{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"([A-Za-z0-9_-]{43})\"\} ]] && recovery=${BASH_REMATCH[1]}
  [ "$(printf '%s.%s' "$(thumbprint "${root:-}")" "$(thumbprint "${recovery:-}")" | hash_of)" = "$ANCHOR" ] ||
    die "the site shows other operators' keys than this machine trusts: somebody wants it to run something. Nothing was installed"
  find_keys "$root" "$recovery" "$(value "$trust" keys || true)" "$@"

  jws=$(value "$(head -c 100000 "$WORK/release")" jws) || die "the site has no release"
  kid=$(decode "${jws%%.*}" | sed -n 's/.*"kid":"\([A-Za-z0-9_-]\{43\}\)".*/\1/p')
  entry="\{\"kid\":\"$kid\",\"key\":\{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"([A-Za-z0-9_-]{43})\"\},\"name\":\"([^\"\\]*)\",\"may\":\[([a-z\",]*)\]\}"
  [[ -n $kid && $KEYS =~ $entry ]] || die "the release is signed with a key that is not on the operators' list. Nothing was installed"
  SIGNER=${BASH_REMATCH[2]}
  local x=${BASH_REMATCH[1]}
  [[ ",${BASH_REMATCH[3]}," == *',"install",'* ]] || die "the release is signed by $SIGNER, whom the operators' list does not let sign. Nothing was installed"
  release=$(open_jws "$jws" "$x" 'picket-release\+jws') || die "the release's signature is not $SIGNER's: it was changed. Nothing was installed"
  [[ $release =~ ^\{\"site\":\"$SITE\",\"iat\":([0-9]{1,12}),\"version\":\"([0-9A-Za-z.+-]{1,64})\",\"files\":\{(.*)\}\}$ ]] ||
    die "the release is not for the site $SITE. Nothing was installed"
  ISSUED=${BASH_REMATCH[1]} VERSION=${BASH_REMATCH[2]}
  local files=${BASH_REMATCH[3]} name
  for name in device.sh first-boot.sh picket-agent.service "linux-$ARCH/picket-agent"; do
    [[ $files =~ \"$name\":\"([0-9a-f]{64})\" ]] || die "the site has no $name for devices: build it there for both architectures, and sign again"
    SUM[$name]=${BASH_REMATCH[1]}
  done
}

# --- installing ---

# Downloads what the release names into a folder beside the one in use, and checks it there.
stage() {
  local name file
  STAGE=$ROOT/agent-$ISSUED-$$
  mkdir -p "$STAGE"
  for name in "${!SUM[@]}"; do
    file=$STAGE/${name##*/}
    fetch "/v1/install/$name" "$file"
    sha256sum --quiet --check --status <<<"${SUM[$name]}  $file" || die "$name is not what $SIGNER signed: it was changed on the way or at the site. Nothing was installed"
  done
  chmod 755 "$STAGE/picket-agent" "$STAGE/device.sh" "$STAGE/first-boot.sh"
  chmod 644 "$STAGE/picket-agent.service"
  "$STAGE/picket-agent" --version >/dev/null 2>&1 || die "the site's picket-agent does not start on this machine. Nothing was installed"
}

# Makes a folder the one in use. One rename: there is never half of it.
use() { # FOLDER
  ln -sfn "$1" "$AGENT.new"
  mv -T "$AGENT.new" "$AGENT"
  ln -sfn "$AGENT/picket-agent" "$LINK"
  install -m 644 "$AGENT/picket-agent.service" "$UNIT"
  if is_booted; then systemctl daemon-reload; fi
}

is_booted() { [ -d /run/systemd/system ]; }

remember_release() {
  mkdir -p "$STATE"
  chmod 700 "$STATE"
  printf '%s\n' "$ISSUED" >"$STATE/release"
}

write_config() {
  mkdir -p "$ETC"
  [ -e "$ETC/agent.toml" ] || echo "# Configuration of picket-agent. 'picket-agent config --print' shows every key, its default and what it means." >"$ETC/agent.toml"
}

# Connected to its site, and still the same process five seconds later.
is_healthy() {
  local until=$((SECONDS + HEALTHY_S)) since='' pid last=''
  while ((SECONDS < until)); do
    pid=$(systemctl show -P MainPID picket-agent)
    if [ "$pid" != 0 ] && connected "$pid"; then
      [ "$pid" = "$last" ] || since=$SECONDS last=$pid
      ((SECONDS - since >= 5)) && return 0
    else
      last=''
    fi
    sleep 1
  done
  return 1
}

connected() { # PID
  local status
  status=$("$AGENT/picket-agent" status --json 2>/dev/null) || return 1
  [[ $status == *'"running":true'* && $status == *"\"pid\":$1,"* && $status == *'"connected":true'* ]]
}

why_unhealthy() { journalctl -u picket-agent -n 8 -o cat --no-pager 2>/dev/null | cut -c1-300 | tr -d '\000-\010\013-\037\177' | sed 's/^/  /' >&2 || true; }

install_device() { # TOKEN_FILE IMAGE NAME REPLACE
  local token
  if [ -e "$STATE/identity.json" ] && [ -z "$4" ]; then
    die "this machine is the device $(value "$(identity)" device) of site $(value "$(identity)" site) already: bring its agent up to date with --upgrade, or give that identity up with --replace"
  fi
  if [ -n "$2" ] && [ -e "$STATE/identity.json" ]; then
    die "this machine is a device already, and every copy of its disk would be the same device: make the image on another, or after --uninstall --purge"
  fi
  if [ -n "$1" ]; then
    [ -r "$1" ] || die "$1 cannot be read"
    token=$(head -c 4096 "$1")
  else
    [ ! -t 0 ] || say "paste the token, then press Enter"
    IFS= read -r token || true
  fi
  token=${token//[[:space:]]/}
  install_packages "${TOOLS[@]}"
  read_token "$token"
  [ -z "$SITE_URL" ] || URL=$SITE_URL
  pin_ca
  open_release
  install_packages "${PACKAGES[@]}"
  say "fetching picket-agent $VERSION from $URL, signed by $SIGNER"
  stage
  local old
  old=$(readlink "$AGENT" || true)
  if is_booted && [ -n "$4" ]; then systemctl stop picket-agent 2>/dev/null || true; fi
  use "$STAGE"
  [ -z "$old" ] || rm -rf "$old"
  STAGE=''
  remember_release
  write_config
  if [ -n "$2" ]; then
    prepare_image "$token"
    return
  fi
  "$AGENT/picket-agent" enroll --token-file - ${3:+--name "$3"} ${4:+--replace} <<<"$token" >/dev/null || die "the machine could not be enrolled, see above; the agent is installed: enrol it with picket-agent enroll, or remove it with $AGENT/device.sh --uninstall"
  "$AGENT/first-boot.sh" --record
  systemctl enable --quiet picket-agent
  is_booted || { say "installed; the agent starts with the machine"; return 0; }
  systemctl restart picket-agent
  is_healthy || { why_unhealthy; die "the agent is installed and enrolled, but not connected to its site after $HEALTHY_S s: see journalctl -u picket-agent and picket-agent check"; }
  say "this machine is the device $(value "$(identity)" device) of site $SITE, and connected"
}

prepare_image() { # TOKEN
  (umask 077 && printf '%s\n' "$1" >"$ETC/enroll.token")
  systemctl enable --quiet picket-agent
  say "the agent enrols this machine at its next start, and every machine with a copy of this disk: shut it down and copy it now"
  say "empty /etc/machine-id first (truncate -s 0 /etc/machine-id), so that each copy gets its own"
}

identity() { tr -d ' \n' <"$STATE/identity.json"; }

# --- upgrading ---

upgrade_device() {
  [ -e "$STATE/identity.json" ] || die "this machine is not a device: install it with a token first"
  install_packages "${TOOLS[@]}"
  local who old was name same=yes
  who=$(identity)
  SITE=$(value "$who" site) URL=https://$(value "$who" https) CA=$STATE/ca.crt.pem
  [ -z "$SITE_URL" ] || URL=$SITE_URL
  pinned_anchor "$who"
  reach_when_isolated
  open_release "$(value "$who" keys || true)" "$(value "$(cat "$STATE/response.json" 2>/dev/null || true)" keys || true)"
  [ "$ISSUED" -ge "$(cat "$STATE/release" 2>/dev/null || echo 0)" ] ||
    die "the site offers a release older than that this machine has: somebody may want back a version with known faults. Nothing was installed"
  for name in "${!SUM[@]}"; do
    sha256sum --check --status <<<"${SUM[$name]}  $AGENT/${name##*/}" 2>/dev/null || same=''
  done
  if [ -n "$same" ]; then
    remember_release
    say "picket-agent $VERSION is what the site has; nothing to do"
    return
  fi
  install_packages "${PACKAGES[@]}"
  say "fetching picket-agent $VERSION from $URL, signed by $SIGNER"
  stage
  old=$(readlink "$AGENT" || true)
  was=$(systemctl is-active picket-agent || true)
  use "$STAGE"
  if [ -z "$old" ]; then
    # It was removed and its data kept.
    write_config
    systemctl enable --quiet picket-agent
    STAGE=''
    systemctl restart picket-agent
    is_healthy || { why_unhealthy; die "picket-agent is installed again, but not connected to its site after $HEALTHY_S s: see journalctl -u picket-agent"; }
  elif [ "$was" != active ]; then
    say "the agent was not running and is not started"
  else
    # Isolation is in the kernel and stays while the agent is away; identity and buffer are on disk.
    systemctl restart picket-agent || true
    if ! is_healthy; then
      why_unhealthy
      use "$old"
      systemctl restart picket-agent
      is_healthy || say "the old agent is not connected either: see journalctl -u picket-agent"
      die "picket-agent $VERSION did not get to its site within $HEALTHY_S s: the old one is back. Say so to whoever signed it, $SIGNER"
    fi
  fi
  STAGE=''
  [ -z "$old" ] || rm -rf "$old"
  remember_release
  say "picket-agent is now $VERSION; identity, buffer and isolation are as they were"
}

pinned_anchor() { # IDENTITY
  local root recovery
  [[ $1 =~ \"root\":\{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"([A-Za-z0-9_-]{43})\"\} ]] || die "$STATE/identity.json is damaged"
  root=${BASH_REMATCH[1]}
  [[ $1 =~ \"recovery\":\{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"([A-Za-z0-9_-]{43})\"\} ]] || die "$STATE/identity.json is damaged"
  recovery=${BASH_REMATCH[1]}
  ANCHOR=$(printf '%s.%s' "$(thumbprint "$root")" "$(thumbprint "$recovery")" | hash_of)
}

# An isolated device cannot look names up: it uses the addresses that were pinned when it was isolated.
reach_when_isolated() {
  local pinned='\"pinned\":\{\"host\":\"([^\"\\]*)\",\"addresses\":\[\"([0-9a-fA-F:.]+)\"'
  if nft list table inet picket_isolation >/dev/null 2>&1 && [[ $(cat "$STATE/response.json") =~ $pinned ]]; then
    local address=${BASH_REMATCH[2]}
    [[ $address != *:* ]] || address="[$address]"
    VIA=(--resolve "${BASH_REMATCH[1]}:${URL##*:}:$address")
  fi
}

# --- removing ---

uninstall_device() { # PURGE
  local who=''
  [ ! -e "$STATE/identity.json" ] || who=$(identity)
  if [ -e "$UNIT" ]; then
    # It tells its site that it stops.
    if is_booted; then systemctl stop picket-agent || true; fi
    systemctl disable --quiet picket-agent 2>/dev/null || true
    rm -f "$UNIT"
    rm -rf "$UNIT.d"
    if is_booted; then
      systemctl daemon-reload
      systemctl reset-failed picket-agent 2>/dev/null || true
    fi
  fi
  if command -v nft >/dev/null && nft list table inet picket_isolation >/dev/null 2>&1; then
    nft delete table inet picket_isolation
    say "this machine was isolated and is not any more"
  fi
  if [ "$(readlink "$LINK" || true)" = "$AGENT/picket-agent" ]; then rm -f "$LINK"; fi
  rm -rf "$AGENT" "$ROOT"/agent-[0-9]*
  rm -f "$ETC/enroll.token" /run/picket/agent-*.json /run/picket/agent-*.tail /dev/shm/agent-*.tail
  if [ -n "$1" ]; then
    rm -rf "$STATE"
    rm -f "$ETC/agent.toml"
  fi
  rmdir "$ROOT" "$ETC" /var/lib/picket /run/picket 2>/dev/null || true
  say "removed$([ -n "$1" ] || echo "; identity, buffer and configuration stay in $STATE and $ETC, and --purge would remove them too")"
  [ -z "$who" ] || say "the site still knows it: picket device $(value "$who" device) revoke"
}

# Whatever was staged and not used is gone at the end.
# shellcheck disable=SC2317 # called by the trap
tidy() {
  rm -rf "$WORK" ${STAGE:+"$STAGE"}
  rmdir "$ROOT" 2>/dev/null || true
}

main() {
  local what='' token='' image='' name='' replace='' purge=''
  SITE_URL=''
  while [ $# -gt 0 ]; do
    case "$1" in
      --device | --upgrade | --uninstall) [ -z "$what" ] || { usage >&2; exit 2; }; what=${1#--} ;;
      --image) image=yes ;;
      --replace) replace=yes ;;
      --purge) purge=yes ;;
      --token-file | --site-url | --name)
        [ $# -ge 2 ] || { usage >&2; exit 2; }
        case "$1" in --token-file) token=$2 ;; --site-url) SITE_URL=$2 ;; --name) name=$2 ;; esac
        shift
        ;;
      --help | -h) usage; return ;;
      *) usage >&2; exit 2 ;;
    esac
    shift
  done
  [ -z "$purge" ] || [ "$what" = uninstall ] || { usage >&2; exit 2; }
  SITE_URL=${SITE_URL%/}
  [[ -z $SITE_URL || $SITE_URL =~ ^https://([A-Za-z0-9.-]+|\[[0-9a-f:]+\]):[0-9]+$ ]] || die "--site-url takes https://HOST:PORT, with brackets around an IPv6 address"
  [ "$token" != - ] || token=/dev/stdin
  check_host
  WORK=$(mktemp -d)
  trap tidy EXIT
  case "${what:-device}" in
    device) install_device "$token" "$image" "$name" "$replace" ;;
    upgrade) upgrade_device ;;
    uninstall) uninstall_device "$purge" ;;
  esac
}

# Last and on one line: a script that was cut on its way does nothing.
main "$@"; exit
