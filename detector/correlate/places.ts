// What a file is by where it lies. Called for each file event: prefixes, chosen by the first letters, before anything that costs more.

/**
 * odd: where programs do not belong (temporary folders, memory, hidden folders below them); start: what runs at boot, login or by the clock, and who may log in;
 * web: what a web server gives out; log: what tells what happened here; host: what steps out of a container.
 */
export type Place = "odd" | "start" | "web" | "log" | "host";

const starts = [
  "/etc/cron",
  "/etc/anacrontab",
  "/etc/systemd/",
  "/etc/init.d/",
  "/etc/rc",
  "/etc/profile",
  "/etc/bash.bashrc",
  "/etc/bashrc",
  "/etc/zsh",
  "/etc/environment",
  "/etc/ld.so.preload",
  "/etc/udev/rules.d/",
  "/etc/modules",
  "/etc/inittab",
  "/etc/init/",
  "/etc/local.d/",
  "/etc/xdg/autostart/",
  "/etc/update-motd.d/",
  "/etc/NetworkManager/dispatcher.d/",
  "/etc/network/if-",
  "/etc/pam.d/",
  "/etc/sudoers",
  "/etc/passwd",
  "/etc/shadow",
];
const ofUser =
  /\/\.(?:ssh\/authorized_keys2?|ssh\/rc|config\/(?:autostart|systemd)\/.*|bashrc|bash_profile|bash_login|bash_logout|profile|zshrc|zshenv)$/;
const logs =
  /^\/var\/log\/(?:auth\.log|secure|syslog|messages|kern\.log|cron\.log|wtmp|btmp|lastlog|faillog|audit\/.*|journal\/.*|daemon\.log|user\.log)$/;
const histories = /\/\.(?:bash|zsh|sh|ash|python|mysql)_history$/;
/** What dpkg and editors leave beside a file while they replace it. */
const passing = /(?:\.dpkg-\w+|\.sw[a-z]|~|\/\.#[^/]*|\.lock|\.ucf-\w+)$/;

/** The place of a path, or undefined for most. */
export function placeOf(path: string): Place | undefined {
  switch (path.slice(0, 3)) {
    case "/tm":
      return path.startsWith("/tmp/") ? "odd" : undefined;
    case "/de":
      return path.startsWith("/dev/shm/") || path.startsWith("/dev/mqueue/") ? "odd" : undefined;
    case "/et":
      return starts.some((start) => path.startsWith(start)) && !passing.test(path) ? "start" : undefined;
    case "/va":
      return inVar(path);
    case "/ro":
    case "/ho":
      return inHome(path);
    case "/li":
      return path.startsWith("/lib/systemd/system") && !passing.test(path) ? "start" : undefined;
    case "/us":
      if (path.startsWith("/usr/lib/systemd/system")) return passing.test(path) ? undefined : "start";
      return path.startsWith("/usr/share/nginx/") || path.startsWith("/usr/local/apache2/htdocs/") ? "web" : undefined;
    case "/sr":
      return path.startsWith("/srv/www/") || path.startsWith("/srv/http/") ? "web" : undefined;
    case "/pr":
      return path === "/proc/sys/kernel/core_pattern" || path.startsWith("/proc/1/root/") ? "host" : undefined;
    case "/sy":
      return path.endsWith("/release_agent") || path.endsWith("/uevent_helper") ? "host" : undefined;
    case "/ru":
      if (path === "/run/docker.sock" || path === "/run/containerd/containerd.sock") return "host";
      return path.startsWith("/run/shm/") || path.startsWith("/run/user/") ? "odd" : path === "/run/utmp" ? "log" : undefined;
    default:
      return path.endsWith("/release_agent") ? "host" : undefined;
  }
}

function inVar(path: string): Place | undefined {
  if (path.startsWith("/var/tmp/")) return "odd";
  if (path.startsWith("/var/www/")) return "web";
  if (path.startsWith("/var/log/")) return logs.test(path) ? "log" : undefined;
  if (path.startsWith("/var/spool/cron/")) return path.includes("/tmp.") ? undefined : "start";
  return path === "/var/run/docker.sock" ? "host" : path === "/var/run/utmp" ? "log" : undefined;
}

function inHome(path: string): Place | undefined {
  if (!path.includes("/.")) return undefined;
  if (histories.test(path)) return "log";
  return ofUser.test(path) && !passing.test(path) ? "start" : undefined;
}

/** A hidden program, or one in a hidden folder of the system's; in a home or a checkout those are daily (.venv, .cargo, .bin). */
const hidden = /\/\.[^./][^/]*$|^\/(?:usr|var|etc|dev|run|boot|bin|sbin|lib)\/(?:[^/]+\/)*\.[^./]/;

/** Whether a program file lies where programs do not belong, or nowhere at all: a file in memory. */
export const isOddProgram = (exe: string): boolean => isInMemory(exe) || placeOf(exe) === "odd" || hidden.test(exe);

/** A program without a file: made with memfd_create(2), or run by a descriptor that nobody could follow. */
export const isInMemory = (exe: string): boolean =>
  (exe.startsWith("/memfd:") || /^\/(?:dev|proc\/(?:self|\d+))\/fd\/\d+$/.test(exe)) &&
  !exe.startsWith("/memfd:runc_cloned") &&
  !exe.startsWith("/memfd:crun_cloned");
