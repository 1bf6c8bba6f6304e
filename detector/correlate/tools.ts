// What the longer chains ask of programs: who fetches, packs, sends, edits, serves, and what a command line asks for. Names are compared whole.
import { baseName } from "../text.ts";
import { isShell, namesOf } from "./programs.ts";
import { traitsOf } from "./traits.ts";

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

const fetchers = words(
  "curl wget wget2 aria2c axel lftp ftp ftpget tftp atftp tnftp fetch lwp-download lwp-request GET nc ncat netcat nc.openbsd nc.traditional socat",
);
const filters = words("tee base64 base32 openssl xxd gunzip gzip zcat bunzip2 xz unxz dd cat uudecode cp mv install unzip busybox");
const applets = words("wget tftp ftpget nc");
const archivers = words("tar bsdtar zip 7z 7za 7zr rar cpio ar gzip xz zstd pigz");
const uploaders = words(
  "curl wget scp sftp rsync rclone ftp lftp tftp ftpput nc ncat netcat nc.openbsd nc.traditional socat aws s3cmd mc gsutil azcopy openssl megaput",
);
const editors = words("vi vim vim.basic vim.tiny nvim nano emacs ed joe mcedit micro visudo vipw sudoedit");
const webServers = words(
  "nginx apache2 httpd lighttpd caddy uhttpd boa goahead thttpd mini_httpd monkey cherokee php-cgi php-fpm uwsgi gunicorn puma unicorn tomcat jetty",
);
const sessions = words("sshd sshd-session dropbear telnetd in.telnetd login in.rlogind");
const loggers = words(`
  rsyslogd syslogd syslog-ng journalctl systemd-journald systemd-journal auditd logrotate savelog newsyslog metalog sshd sshd-session login agetty getty systemd-logind
  systemd-update-utmp utempter systemd init runsvdir lightdm gdm sddm su sudo screen tmux cron crond multilog svlogd fluent-bit vector
  dropbear telnetd in.telnetd systemd-tmpfiles tmpreaper busybox lastlog faillock faillog pam_tally2
`);
const becomesRoot = words(`
  sudo su doas pkexec passwd newgrp sg chsh chfn chage gpasswd expiry mount umount fusermount fusermount3 ping ping6 traceroute crontab at atd cron crond sshd sshd-session login
  polkit-agent-helper-1 dbus-daemon-launch-helper unix_chkpwd ssh-keysign systemd systemd-executor Xorg.wrap chrome-sandbox snap-confine bwrap newuidmap newgidmap runuser ssh-agent
  systemd-logind accounts-daemon exim4 sendmail postdrop postqueue apt apt-get dpkg apache2 nginx ntpd chronyd dnsmasq sudoedit utempter runc crun dropbear
`);
const remote = words("ssh scp sftp rsync sshpass autossh dbclient mosh slogin");

const appletOf = (exe: string, argv: readonly string[]): string | undefined =>
  baseName(exe) === "busybox" ? (baseName(argv[0] ?? "") === "busybox" ? argv[1] : baseName(argv[0] ?? "")) : undefined;

export const isFetcher = (exe: string, argv: readonly string[]): boolean =>
  fetchers.has(baseName(exe)) || applets.has(appletOf(exe, argv) ?? "");
export const isFilter = (exe: string): boolean => filters.has(baseName(exe)) || isShell(exe);
export const isEditor = (exe: string): boolean => editors.has(baseName(exe));
export const isLogger = (exe: string): boolean => loggers.has(baseName(exe));
export const mayBecomeRoot = (exe: string): boolean => becomesRoot.has(baseName(exe));
export const isRemoteTool = (program: string): boolean => remote.has(program);
export const isSession = (exe: string): boolean => sessions.has(baseName(exe));
export const isUploader = (program: string): boolean => uploaders.has(program);

const versionedPhp = /^php(?:-fpm|-cgi)?[0-9.]*$/;
/** A web server, or what runs its pages. */
export const isWebServer = (exe: string, argv: readonly string[]): boolean =>
  // A shell that runs /etc/init.d/nginx is none.
  (isShell(exe) ? [baseName(exe)] : namesOf(exe, argv)).some(
    (name) => webServers.has(name) || (versionedPhp.test(name) && /fpm|cgi/.test(name)),
  );

/** The script that a shell or an interpreter was started to run. */
export function scriptOf(exe: string, argv: readonly string[]): string | undefined {
  const { shell, interpreter } = traitsOf(exe);
  if (!shell && !interpreter) return undefined;
  const first = argv.find((arg, at) => at > 0 && !arg.startsWith("-"));
  return first?.startsWith("/") ? first : undefined;
}

const poolPorts = new Set([3333, 3334, 4444, 5555, 5556, 7777, 8888, 9999, 14_433, 14_444, 20_128, 45_560, 45_700]);
const pool =
  /stratum\+?(?:tcp|ssl|tls)?:\/\/|--donate-level|--coin[= ]|\bnicehash\b|--rig-id|randomx|cryptonight|--algo[= ]|(?:^|\s)-o\s+\S+:(?:3333|4444|5555|7777|14444|45700)\b/;
export const isPoolPort = (port: number): boolean => poolPorts.has(port);
export const namesPool = (argv: readonly string[]): boolean => argv.length > 1 && pool.test(argv.join(" "));

const sensitiveFolder =
  /^\/(?:$|\*$|(?:etc|root|home|srv|boot|var\/(?:lib|www|backups|spool|mail))(?:\/|$))|\/?\.(?:ssh|aws|gnupg|kube|docker|mozilla|config)(?:\/|$)/;
const archive = /\.(?:tar|t[gbx]z2?|tar\.\w+|zip|7z|rar|cpio|gz|xz|zst|enc|gpg)$/;
/** The archive into which a command packs folders that matter, where it puts it where nobody keeps one. */
export function stagedBy(exe: string, argv: readonly string[], isOdd: (path: string) => boolean): string | undefined {
  if (!archivers.has(baseName(exe)) || argv.length < 3) return undefined;
  const target = argv.find((arg) => isOdd(arg) && archive.test(arg));
  return target !== undefined && argv.some((arg, at) => at > 0 && sensitiveFolder.test(arg)) ? target : undefined;
}

const guards =
  /\b(?:ufw|firewalld|nftables|iptables|netfilter-persistent|fail2ban|auditd|rsyslog|syslog-ng|systemd-journald|syslog|picket-agent|falco|osqueryd|clamav-daemon|clamd|apparmor|wazuh-agent|crowdsec|suricata|snort|aide|sysmon|falcon-sensor|ossec)(?:\.service)?\b/;
const stops = /\b(?:stop|disable|mask|kill|remove)\b/;
/** Whether a command line stops what guards or records the device. */
export function impairs(program: string, argv: readonly string[]): boolean {
  const line = argv.slice(1).join(" ");
  switch (program) {
    case "systemctl":
    case "service":
    case "rc-service":
    case "chkconfig":
    case "update-rc.d":
      return stops.test(line) && guards.test(line);
    case "pkill":
    case "killall":
      return guards.test(line);
    case "ufw":
      return /\b(?:disable|reset)\b/.test(line);
    case "iptables":
    case "ip6tables":
      return /(?:^|\s)(?:-F|--flush)\s*$|-P\s+INPUT\s+ACCEPT/.test(line);
    case "nft":
      return line.includes("flush ruleset");
    case "setenforce":
      return argv[1] === "0" || argv[1] === "Permissive";
    case "auditctl":
      return /(?:^|\s)(?:-D|-e\s*0)\b/.test(line);
    default:
      return false;
  }
}

/** Whether a command steps out of a container by its own words. */
export const stepsOut = (program: string, argv: readonly string[]): boolean => {
  const line = argv.join(" ");
  if (program === "nsenter") return /-t\s*1\b|--target[= ]1\b|-m\b|--mount/.test(line);
  if (program === "mount") return /\/dev\/(?:sd|vd|nvme|mmcblk|xvd|mapper\/)|\bcgroup\b|\brdma\b/.test(line);
  return /\/(?:run|var\/run)\/(?:docker|containerd\/containerd|crio\/crio)\.sock\b|\/release_agent\b|core_pattern\b|uevent_helper\b|\/proc\/1\/root\b/.test(
    line,
  );
};

const noteName =
  /(?:decrypt|recover|restore|ransom|unlock)[^/]*\.(?:txt|html?|md|hta)$|how[_ -]?to[_ -]?(?:back|get|return)[^/]*$|(?:^|\/)!+[^/]*(?:readme|read_me)[^/]*$/i;
export const isRansomNote = (path: string): boolean => noteName.test(baseName(path));

const usualSuffix =
  /^(?:[0-9]+|gz|xz|bz2|zst|lz4|zip|old|bak|backup|orig|save|saved|tmp|temp|new|part|partial|swp|lock|log|pid|done|dist|rpm\w+|dpkg-\w+|ucf-\w+|disabled|off|jpe?g|png|gif|webp|mp[34]|pdf|txt|html?|csv|json|xml|ya?ml|conf|cfg|ini|js|mjs|cjs|ts|map|css|py|pyc|pyo|so|o|a|d|lo|c|h|cpp|rs|go|sh|md|db(?:-\w+)?|sqlite\d?(?:-\w+)?|crt|pem|key|rst)$/i;
/** The suffix that a rename gave a file and that says nothing of what is in it, or undefined. */
export function oddSuffix(from: string, to: string): string | undefined {
  const dot = to.lastIndexOf(".");
  if (dot <= to.lastIndexOf("/") + 1 || to.length - dot > 40) return undefined;
  const suffix = to.slice(dot + 1);
  const appended = to.slice(0, dot) === from;
  const changed = !appended && from.lastIndexOf(".") === dot && from.slice(0, dot) === to.slice(0, dot);
  return (appended || changed) && suffix !== "" && !usualSuffix.test(suffix) ? suffix : undefined;
}
