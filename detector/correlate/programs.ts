// What programs are, by name. Names are compared whole, never by substring: "sh" is not in "ssh-agent".
import { baseName } from "../text.ts";

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

export const shells = words("bash sh zsh fish dash ash ksh mksh busybox");

const interpreters = words("python python2 python3 perl ruby node nodejs bun deno php lua tclsh java");
const versioned = /^(python|perl|ruby|php|lua)[0-9.]+$/;
export const isInterpreter = (name: string): boolean => interpreters.has(name) || versioned.test(name);

/** Programs that run many others, or fetch and then run, as their daily work. Burst and `sh -c` after a download mean nothing there. */
const noisyTools = words(`
  make gmake ninja cmake meson configure gcc g++ cc c++ cc1 clang collect2 ld libtool cargo rustc go npm npm-cli.js npx npx-cli.js yarn yarn.js pnpm
  pnpm.cjs gyp node-gyp bazel gradle mvn ant tox pip pip3 poetry setup.py dpkg dpkg-deb apt apt-get aptitude unattended-upgrade dnf yum rpm apk pacman
  snap snapd flatpak debconf frontend dpkg-reconfigure dpkg-preconfigure debootstrap mmdebstrap update-initramfs mkinitramfs update-grub run-parts ldconfig git man-db mandb
  systemd init systemd-udevd udevadm cloud-init ifup ifdown dhclient NetworkManager nm-dispatcher networkd-dispatcher cron crond anacron atd
  sshd sshd-session login su sudo doas runuser agetty getty tmux screen lightdm gdm sddm Xorg Xsession dockerd containerd containerd-shim
  containerd-shim-runc-v2 runc podman conmon buildkitd ansible ansible-playbook puppet salt-minion chef-client picket picket-agent
`);

/** Sessions and services hang below these; what their children do is not one story. */
const roots = words(`
  systemd init sshd sshd-session cron crond atd anacron login agetty getty sudo su doas runuser tmux screen dockerd containerd containerd-shim
  containerd-shim-runc-v2 runc conmon supervisord runit s6-svscan openrc NetworkManager systemd-udevd lightdm gdm sddm xinetd inetd
`);

/** Programs whose work is to read credentials and then start something. */
const usualReaders = words(`
  sudo su sshd sshd-session sshd-auth login passwd chpasswd useradd usermod userdel groupadd groupmod groupdel gpasswd adduser unix_chkpwd cron crond
  atd systemd systemd-executor systemd-logind systemd-userwork systemd-userdbd polkitd pkexec gdm lightdm sddm agetty vipw visudo pwck grpck pwconv
  shadowconfig nscd sssd sssd_be sssd_pam dpkg apt apt-get runuser newgrp sg chage chsh chfn accounts-daemon dovecot vsftpd proftpd smbd doas expiry
  ssh ssh-add ssh-agent ssh-keygen scp sftp newusers systemd-sysusers cloud-init picket-agent
`);

/** Programs an intruder runs to look around. */
export const discovery = words(`
  id whoami who w uname hostname ps ss netstat ip ifconfig route arp lsof df mount lsblk env printenv getent groups last lastlog lsmod lscpu
  dmidecode uptime hostnamectl nmap getcap
`);

/** Switches that bring no code of their own, so that what follows them is the script. */
const switches = { shell: /^-[eux]+$/, perl: /^-[wWtTX]+$/, python: /^-[BEIOPSsu]+$/ } as const;

/** The script that an interpreter or shell was started to run, as it was typed: the first argument, or the first after such switches. */
function scriptName(name: string, argv: readonly string[]): string | undefined {
  const kind = shells.has(name) ? "shell" : name.startsWith("perl") ? "perl" : name.startsWith("python") ? "python" : undefined;
  for (let at = 1; at < argv.length; at++) {
    const arg = argv[at]!;
    if (!arg.startsWith("-")) return arg;
    if (kind === undefined || !switches[kind].test(arg)) return undefined;
  }
  return undefined;
}

/** Among them those that ask how the device does, and not whose it is: dashboards show it. */
export const health = words("uptime df ps ip hostname ss netstat ifconfig arp route lsblk mount");

/** The names a process goes by: its executable's, and the script's that an interpreter or shell runs. */
export function namesOf(exe: string, argv: readonly string[]): string[] {
  const name = baseName(exe);
  if (!isInterpreter(name) && !shells.has(name)) return [name];
  const script = scriptName(name, argv);
  return script === undefined ? [name] : [name, baseName(script)];
}

const installed = /^\/(?:usr\/)?(?:s?bin|lib|libexec|share)\/|^\/var\/lib\/dpkg\/info\//;

/** Whether an interpreter runs a script that lies where packages put programs, and nothing from its command line. */
export function isInstalledScript(exe: string, argv: readonly string[]): boolean {
  const name = baseName(exe);
  if (!isInterpreter(name)) return false;
  const script = scriptName(name, argv);
  return script !== undefined && installed.test(script) && !script.includes("/../");
}

export const isNoisyTool = (exe: string, argv: readonly string[]): boolean => namesOf(exe, argv).some((name) => noisyTools.has(name));
export const isRoot = (exe: string): boolean => roots.has(baseName(exe));
export const isShell = (exe: string): boolean => shells.has(baseName(exe));

/** Whether a shell is started to run one given command, and not for somebody to type into. */
export const runsOneCommand = (argv: readonly string[]): boolean => /^-[a-z]*c[a-z]*$/.test(argv[1] ?? "");

const sensitive =
  /^\/etc\/(?:g?shadow-?|sudoers|sudoers\.d\/.+|security\/opasswd)$|^\/etc\/ssh\/ssh_host_\w+_key$|\/\.ssh\/(?:id_[\w-]+|authorized_keys2?|identity)$|^\/root\/\.ssh(?:\/|$)|\/\.(?:bash|zsh|sh|ash|python|mysql|psql)_history$/;
const history = /_history$/;

const walkers = words("tar bsdtar rsync grep egrep fgrep rg ag ack");
/** A secret by name, a far host, standard output, or a place where nobody keeps a backup. */
const aimed =
  /shadow|sudoers|opasswd|ssh|id_|_history|[\w.-]+:|@|(?:^|\s)-(?:\s|$)|\/tmp|\/dev\/shm|\/var\/www|passw|secret|BEGIN|PRIVATE/i;

/** Whether a program reads a whole folder for a backup or a search, and came by secrets without asking for them. Single rules still see it. */
const isWalking = (name: string, argv: readonly string[]): boolean =>
  walkers.has(name) && argv.length > 2 && !aimed.test(argv.slice(1).join(" "));

/**
 * Whether this is a read of a file that holds credentials by something that has no daily reason to. /etc/passwd is left to
 * single rules: every `ls -l` reads it. A public key is no secret, and a shell reads its own history. Perl reads shadow for root
 * whenever a script looks up a user (getpwnam), as debconf does for every package.
 */
export function isCredentialRead(path: string, flags: number, exe: string, argv: readonly string[] = []): boolean {
  const writesOnly = (flags & 3) === 1;
  if (writesOnly || path.endsWith(".pub") || !sensitive.test(path)) return false;
  const name = baseName(exe);
  if (usualReaders.has(name) || isWalking(name, argv)) return false;
  if (path === "/etc/shadow" && name.startsWith("perl") && isInstalledScript(exe, argv)) return false;
  return !(history.test(path) && (shells.has(name) || isInterpreter(name)));
}

/** Ports of a client's daily work: a tool that connects there and a shell beside it is no reverse shell. */
const usualPorts = new Set([
  21, 22, 25, 53, 80, 123, 143, 389, 443, 465, 587, 636, 853, 873, 993, 1883, 3128, 3142, 5353, 5432, 3306, 6379, 8080, 8443, 8883, 9418,
  11371,
]);
export const isUsualPort = (port: number): boolean => usualPorts.has(port);

/** Not loopback, not "any", not unknown, and not a name lookup: glibc connects UDP sockets to resolvers and candidate addresses. */
export function isExternal(proto: "tcp" | "udp", ip: string, port: number): boolean {
  if (proto === "udp" && (port === 53 || port === 0)) return false;
  const v4 = ip.replace(/^::ffff:(?=\d+\.)/i, "");
  return !(v4 === "" || v4.startsWith("127.") || v4 === "0.0.0.0" || isLoopback6(ip));
}

/** ::1, ::, and 127/8 mapped, however zeros are written. */
const isLoopback6 = (ip: string): boolean => ip.includes(":") && /^(?:[0:]+1?|[0:]+:ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4})$/i.test(ip);

/** The network an address is in: /24, or /48 for IPv6. A service that answers from many addresses is one destination. */
export function networkOf(ip: string): string {
  const v4 = ip.replace(/^::ffff:(?=\d+\.)/i, "");
  if (!v4.includes(":")) return v4.slice(0, v4.lastIndexOf("."));
  return v4.split(":", 3).join(":");
}
