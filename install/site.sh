# shellcheck shell=bash
# A site on this host, for install.sh, which reads this file: install, upgrade, remove.
readonly SITE_ROOT=/opt/picket SITE_STATE=/var/lib/picket/site SITE_CONFIG=/etc/picket/site.toml
readonly SITE_UNIT=/etc/systemd/system/picket-site.service SITE_LINK=/usr/local/bin/picket
readonly SITE_USER=picket
# A site whose API does not answer after this many seconds is taken back.
readonly SITE_HEALTHY_S=${PICKET_HEALTHY_S:-60}

install_site() { # --name SITE --host ADDRESS... --operator FILE --operator-home DIR
  local name='' operator='' home='' hosts=()
  while [ $# -gt 0 ]; do
    [ $# -ge 2 ] || { usage >&2; exit 2; }
    case "$1" in
      --name) name=$2 ;;
      --host) hosts+=(--host "$2") ;;
      --operator) operator=$(cd -- "$CALLED_FROM" && realpath -m -- "$2") ;;
      --operator-home) home=$(cd -- "$CALLED_FROM" && realpath -m -- "$2") ;;
      *) usage >&2; exit 2 ;;
    esac
    shift 2
  done
  need_systemd
  [ ! -e "$SITE_STATE/site.json" ] || die "$SITE_STATE holds a site already: bring it up to date with sudo ./install.sh --upgrade"
  [ -z "$operator" ] || [ -r "$operator" ] || die "$operator cannot be read: it is the public.json that \`picket operator init\` made where the operator works"
  [ ${#hosts[@]} -gt 0 ] || own_addresses
  install_packages ca-certificates util-linux curl
  distribution
  make_user
  place_site
  local access=$CALLED_FROM/site.json
  if [ -z "$operator" ]; then
    home=${home:-$(operator_home)}
    operator_keys "$home" "$name"
    name=$(keys_site "$home")
    operator=$home/public.json access=$home/site.json
  else
    name=${name:-$(own_name)}
  fi
  "$SITE_LINK" site init --site "$name" "${hosts[@]}" --operator "$operator" --dir "$SITE_STATE" --out "$access" >/dev/null ||
    die "the site could not be made, see above"
  chown -R "$SITE_USER:$SITE_USER" "$SITE_STATE"
  chown "${SUDO_UID:-0}:${SUDO_GID:-0}" "$access"
  publish "$home"
  write_site_config
  use_unit
  systemctl enable --quiet picket-site
  if is_booted; then
    systemctl restart picket-site
    site_is_healthy || { site_log; die "the site is installed but does not answer after $SITE_HEALTHY_S s: see journalctl -u picket-site"; }
  fi
  say "the site $name runs here as the service picket-site; devices reach it at ${hosts[1]}"
  say "$access lets an operator in; it is the only copy of the API credential"
  if [ -n "$home" ]; then
    say "operator keys are in $home. They order devices: on a real site move them to where the operator works, and root.jwk and recovery.jwk off line"
    say "next: picket${home:+ --home $home} token create, and paste the line it prints on a device"
  fi
}

upgrade_site() { # --operator-home DIR
  local home
  home=$(operator_home)
  [ $# -eq 0 ] || home=$(cd -- "$CALLED_FROM" && realpath -m -- "$2")
  [ -e "$SITE_STATE/site.json" ] || die "there is no site in $SITE_STATE"
  need_systemd
  install_packages ca-certificates util-linux curl
  distribution
  local old_site old_dist
  old_site=$(readlink "$SITE_ROOT/site") old_dist=$(readlink "$SITE_ROOT/dist" || true)
  place_site
  publish "$home"
  use_unit
  if is_booted && systemctl is-enabled --quiet picket-site; then
    systemctl restart picket-site || true
    if ! site_is_healthy; then
      site_log
      point site "$old_site"
      [ -z "$old_dist" ] || point dist "$old_dist"
      use_unit
      systemctl restart picket-site || true
      die "the new version does not answer after $SITE_HEALTHY_S s: the old one is back. Its data is in $SITE_STATE as it was found"
    fi
  fi
  forget_others site
  forget_others dist
  say "the site is now $("$SITE_LINK" --version); devices take their agent with sudo /opt/picket/agent/device.sh --upgrade"
}

uninstall_site() { # PURGE
  if [ -e "$SITE_UNIT" ]; then
    if is_booted; then systemctl stop picket-site || true; fi
    systemctl disable --quiet picket-site 2>/dev/null || true
    rm -rf "$SITE_UNIT" "$SITE_UNIT.d"
    if is_booted; then
      systemctl daemon-reload
      systemctl reset-failed picket-site 2>/dev/null || true
    fi
  fi
  if [ "$(readlink "$SITE_LINK" || true)" = "$SITE_ROOT/site/picket" ]; then rm -f "$SITE_LINK"; fi
  rm -rf "$SITE_ROOT/site" "$SITE_ROOT/dist" "$SITE_ROOT"/site-[0-9]* "$SITE_ROOT"/dist-[0-9]*
  if [ -n "$1" ]; then
    rm -rf "$SITE_STATE"
    rm -f "$SITE_CONFIG"
    if id "$SITE_USER" >/dev/null 2>&1; then userdel "$SITE_USER"; fi
    say "the site and its data are removed; operators' keys and site.json lie where the operators work and were not touched"
  else
    say "the site is removed; its data stays in $SITE_STATE and $SITE_CONFIG, and --purge would remove it too"
  fi
  rmdir "$SITE_ROOT" /etc/picket /var/lib/picket 2>/dev/null || true
}

# --- pieces ---

need_systemd() { command -v systemctl >/dev/null || die "this system has no systemd, which starts the site: run picket up by other means (docs/install.md)"; }
is_booted() { [ -d /run/systemd/system ]; }

# What is installed: built here from source for both architectures, or brought along in dist/.
distribution() {
  local own
  own=dist/linux-$(arch)
  if [ -e build.ts ]; then
    install_bun
    install_dependencies
    say "building for x64 and arm64"
    if ! "$BUN" build.ts >&2; then
      say "trying this host's architecture alone"
      # What was built for the other one before is older than this.
      rm -rf dist/linux-*
      "$BUN" build.ts --arch "$(arch)" >&2 || die "the build failed, see above"
      say "devices of the other architecture cannot be installed from here"
    fi
    return
  fi
  [ -x "$own/picket" ] || die "there is neither source nor $PWD/$own/picket here: run this where dist/ or the checkout is"
  (cd "$own" && sha256sum --quiet --check SHA256SUMS) || die "$own is damaged: copy it again"
}

make_user() {
  id "$SITE_USER" >/dev/null 2>&1 ||
    useradd --system --user-group --home-dir "$SITE_STATE" --no-create-home --shell /usr/sbin/nologin --comment "Picket site" "$SITE_USER"
}

# A folder of its own, made the one in use by one rename: there is never half of it.
place_site() {
  local new
  new=$SITE_ROOT/site-$(date +%s)-$$
  mkdir -p "$new"
  cp -R "dist/linux-$(arch)/." "$new"
  # The site's host gets its agent as any device does.
  rm -f "$new/picket-agent" "$new/SHA256SUMS"
  cp install.sh "$new/"
  cp -R install "$new/"
  chown -R 0:0 "$new"
  chmod -R u=rwX,go=rX "$new"
  "$new/picket" --version >/dev/null || die "$new/picket does not start on this machine"
  point site "$new"
  ln -sfn "$SITE_ROOT/site/picket" "$SITE_LINK"
}

point() { # NAME FOLDER
  ln -sfn "$2" "$SITE_ROOT/$1.new"
  mv -T "$SITE_ROOT/$1.new" "$SITE_ROOT/$1"
}

forget_others() { # NAME
  local folder
  for folder in "$SITE_ROOT/$1"-[0-9]*; do
    [ "$folder" = "$(readlink "$SITE_ROOT/$1")" ] || rm -rf "$folder"
  done
}

# What devices install: their agents, signed here if the operator's key is here, else as they were signed elsewhere.
publish() { # OPERATOR_HOME
  local new file
  new=$SITE_ROOT/dist-$(date +%s)-$$
  for file in dist/linux-*/picket-agent; do
    install -D -m 755 "$file" "$new/${file#dist/}"
  done
  if [ -e "${1:-/nonexistent}/operator.jwk" ]; then
    "$SITE_LINK" --home "$1" operator sign "$new" >/dev/null || die "the release could not be signed, see above"
  elif [ -e dist/release.jws ]; then
    is_signed "$new" || die "dist/release.jws was not made for the agents in dist/: where the operator works, run picket operator sign dist, and copy all of dist/ again"
    install -m 644 dist/release.jws dist/device.sh dist/first-boot.sh dist/picket-agent.service "$new"
  else
    local todo='where the operator works run picket operator sign dist, copy dist/ here, and run sudo ./install.sh --upgrade'
    if [ -e "$SITE_ROOT/dist/release.jws" ]; then
      rm -rf "$new"
      say "devices are given the agent they were given before, since nobody signed this one: $todo"
      return
    fi
    say "no device can be installed from this site yet: $todo"
  fi
  chmod -R go=rX "$new"
  point dist "$new"
}

# The checksums in dist/release.jws are those of the agents in a folder; who signed them is for devices to check.
is_signed() { # FOLDER
  local payload file
  payload=$(cut -d. -f2 dist/release.jws | tr -- '-_' '+/' | sed 's/$/===/' | base64 -di 2>/dev/null || true)
  for file in "$1"/linux-*/picket-agent; do
    [[ $payload == *"\"${file#"$1"/}\":\"$(sha256sum <"$file" | cut -d' ' -f1)\""* ]] || return 1
  done
}

operator_home() {
  local user=${SUDO_USER:-root}
  printf '%s/.config/picket' "$(getent passwd "$user" | cut -d: -f6)"
}

# Keys that are there are used; otherwise they are made, for whoever called sudo.
operator_keys() { # HOME NAME
  if [ -e "$1/public.json" ]; then
    [ -z "$2" ] || [ "$2" = "$(keys_site "$1")" ] || die "the operator keys in $1 are for the site $(keys_site "$1"), not $2: name another folder with --operator-home"
    return
  fi
  local owner=${SUDO_UID:-0}:${SUDO_GID:-0} parent
  parent=$(dirname "$1")
  [ -d "$parent" ] || install -d -m 700 -o "${owner%:*}" -g "${owner#*:}" "$parent"
  "$SITE_LINK" --home "$1" operator init --site "${2:-$(own_name)}" ${SUDO_USER:+--name "$SUDO_USER"} >/dev/null ||
    die "operator keys could not be made, see above"
  chown -R "$owner" "$1"
}

keys_site() { "$SITE_LINK" --home "$1" operator list --json | sed -n 's/^{"site":"\([a-z0-9-]*\)".*/\1/p'; }

# Before the first dot, as a site may be called.
own_name() { uname -n | cut -d. -f1 | tr '[:upper:]' '[:lower:]' | tr -c 'a-z0-9\n' - | sed 's/^-*//; s/-*$//'; }

# The address this host uses towards others, and its name.
own_addresses() {
  local address
  address=$(ip -o route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
  [ -n "$address" ] || address=$(hostname -I | cut -d' ' -f1)
  [ -n "$address" ] || die "this host has no address yet: say how devices reach it with --host"
  hosts=(--host "$address" --host "$(uname -n)")
}

write_site_config() {
  mkdir -p /etc/picket
  if [ ! -e "$SITE_CONFIG" ]; then
    echo "# Configuration of this site. 'picket site show' prints every key with what it means." >"$SITE_CONFIG"
  fi
  # Secrets of webhooks stand in it.
  chown "root:$SITE_USER" "$SITE_CONFIG"
  chmod 640 "$SITE_CONFIG"
}

use_unit() {
  install -m 644 "$SITE_ROOT/site/install/picket-site.service" "$SITE_UNIT"
  if is_booted; then systemctl daemon-reload; fi
}

# The API answers, three times in a row.
site_is_healthy() {
  local until=$((SECONDS + SITE_HEALTHY_S)) port good=0
  port=$("$SITE_LINK" site show --json | sed -n 's/.*"httpsPort":\([0-9]*\).*/\1/p')
  while ((SECONDS < until)); do
    if curl -fsk --noproxy '*' --max-time 3 -o /dev/null "https://127.0.0.1:${port:-8443}/v1/health"; then
      ((++good >= 3)) && return 0
    else
      good=0
    fi
    sleep 1
  done
  return 1
}

site_log() { journalctl -u picket-site -n 8 -o cat --no-pager 2>/dev/null | cut -c1-300 | sed 's/^/  /' >&2 || true; }
