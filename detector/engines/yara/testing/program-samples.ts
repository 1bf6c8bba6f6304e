import { elf, hidden } from "./elf.ts";
import type { Samples } from "./samples.ts";

const MIPS = { bits: 32, byteOrder: "big" } as const;

const miners: Record<string, Samples> = {
  miner_program: {
    hits: [
      elf({ data: ["XMRig 6.21", "donate-level", "cpu-max-threads-hint", "huge-pages-jit", "rx/0", "stratum+tcp://"] }),
      elf({ bits: 32, data: ["xmr-stak", "cryptonight", "stratum+ssl://pool"] }),
    ],
    // A program may know the word for what it looks for.
    misses: [elf({ data: ["xmrig", "randomx"] }), elf({ data: ["cpu-affinity", "donate-level", "rig-id"] })],
  },
  miner_stratum_client: {
    hits: [
      elf({ data: ['{"id":1,"method":"mining.subscribe","params":[]}', "mining.authorize", "mining.notify"] }),
      elf({ data: ['"method":"login"', '"method": "submit"', '"job_id"'] }),
    ],
    misses: [
      elf({ data: ['"method":"login"', '"method":"logout"'] }),
      new TextEncoder().encode("mining.subscribe mining.authorize mining.submit"),
    ],
  },
};

const bots: Record<string, Samples> = {
  bot_mirai_like: {
    hits: [
      elf({ ...MIPS, data: ["/dev/watchdog", "/dev/misc/watchdog", "/bin/busybox ECCHI", "ECCHI: applet not found", "ncorrect"] }),
      elf({ bits: 32, data: ["/dev/watchdog", "assword:", "ogin:", "TSource Engine Query"] }),
    ],
    misses: [
      // A watchdog's own program, and a telnet client.
      elf({ data: ["/dev/watchdog", "/dev/misc/watchdog", "watchdog: cannot set timeout"] }),
      elf({ data: ["login:", "password:", "Login incorrect", "/proc/net/tcp"] }),
    ],
  },
  bot_hidden_strings: {
    hits: [
      elf({ ...MIPS, data: [hidden("/bin/busybox ECCHI", 0x22), hidden("/dev/watchdog", 0x22)] }),
      elf({ data: [hidden("/proc/net/tcp", 0x54), hidden("TSource Engine Query", 0x54)] }),
    ],
    misses: [elf({ data: ["/bin/busybox", "/dev/watchdog", "/proc/net/tcp"] }), elf({ data: [hidden("/dev/watchdog", 0x22)] })],
  },
  bot_gafgyt_like: {
    hits: [
      elf({ bits: 32, data: ["GETLOCALIP", "SCANNER ON | OFF", "KILLATTK", "PONG!"] }),
      elf({ data: ["LOLNOGTFO", "STDHEX", "REPORT %s:%s:%s"] }),
    ],
    misses: [elf({ data: ["PING", "PONG", "UDP", "TCP", "CLOUDFLARE"] })],
  },
  bot_irc_flooder: {
    hits: [
      elf({ data: ["PRIVMSG %s :", "NICK %s\n", "TSUNAMI <target> <secs>", "PAN <target> <port> <secs>"] }),
      new TextEncoder().encode('#!/usr/bin/perl\nsend("PRIVMSG $chan :ok"); send("JOIN $chan");\nsub udpflood {} sub tcpflood {}\n'),
    ],
    // A chat program.
    misses: [elf({ data: ["PRIVMSG %s :%s", "NICK %s", "JOIN %s", "/kick"] })],
  },
  bot_attacks_devices: {
    hits: [elf({ ...MIPS, data: ["POST /ctrlt/DeviceUpgrade_1 HTTP/1.1", "POST /GponForm/diag_Form?images/ HTTP/1.1"] })],
    // A router's own web server knows one of them.
    misses: [elf({ data: ["/tmUnblock.cgi", "/index.asp"] })],
  },
  bot_factory_passwords: {
    hits: [elf({ ...MIPS, data: ["root", "xc3511", "vizxv", "admin", "juantech", "7ujMko0admin"] })],
    misses: [elf({ data: ["admin", "1234", "realtek", "password", "root"] })],
  },
};

const upx = "$Info: This file is packed with the UPX executable packer http://upx.sf.net $";
const stub = ["PROT_EXEC|PROT_WRITE failed.", "/proc/self/exe"];

const oddlyMade: Record<string, Samples> = {
  elf_packed_upx: {
    hits: [elf({ sections: false, data: ["UPX!", ...stub, upx, "UPX!"] })],
    misses: [elf({ data: ["this tool unpacks UPX! files"] }), new TextEncoder().encode("UPX! UPX!")],
  },
  elf_packed_upx_damaged: {
    hits: [elf({ sections: false, data: ["YTS!", ...stub, "YTS!"] }), elf({ ...MIPS, sections: false, data: ["0000", ...stub] })],
    misses: [elf({ sections: false, data: ["UPX!", ...stub, "UPX!"] }), elf({ data: stub })],
  },
  elf_without_sections: {
    hits: [elf({ sections: false, sizeBytes: 9000 }), elf({ ...MIPS, sections: false, sizeBytes: 9000 })],
    misses: [elf({ sizeBytes: 9000 }), elf({ type: "core", sections: false, sizeBytes: 9000 })],
  },
  elf_tiny_loader: {
    hits: [
      elf({ sections: false, loads: [7] }),
      elf({ bits: 32, sections: false, loads: [7] }),
      elf({ ...MIPS, sections: false, loads: [7] }),
    ],
    misses: [elf({ sections: false, loads: [5] }), elf({ loads: [7] }), elf({ sections: false, loads: [7], sizeBytes: 9000 })],
  },
  elf_writable_code: {
    hits: [elf({ loads: [5, 6, 7], sizeBytes: 9000 }), elf({ bits: 32, loads: [7], sizeBytes: 9000 })],
    misses: [
      elf({ loads: [4, 5, 6], sizeBytes: 9000 }),
      elf({ loads: [7], type: "core", sizeBytes: 9000 }),
      elf({ ...MIPS, loads: [7], sizeBytes: 9000 }),
    ],
  },
  elf_preload_rootkit: {
    hits: [elf({ type: "shared", data: ["/etc/ld.so.preload", "dlsym", "readdir64", "readdir", "__lxstat", "/proc/net/tcp"] })],
    // The dynamic linker names its file; a tracer replaces functions.
    misses: [
      elf({ type: "shared", data: ["/etc/ld.so.preload", "dlsym"] }),
      elf({ data: ["dlsym", "readdir64", "readdir", "fopen64", "/proc/%s/"] }),
    ],
  },
  elf_kernel_rootkit: {
    hits: [
      elf({
        type: "relocatable",
        data: [".gnu.linkonce.this_module", "kallsyms_lookup_name", "prepare_creds", "commit_creds", "filldir64"],
      }),
    ],
    misses: [
      elf({ type: "relocatable", data: [".gnu.linkonce.this_module", "register_kprobe", "prepare_creds"] }),
      elf({ data: ["kallsyms_lookup_name", "prepare_creds", "commit_creds"] }),
    ],
  },
  dropper_program_in_memory: {
    hits: [elf({ data: ["memfd_create", "fexecve", "socket", "connect", "recv"] })],
    // A container runtime does the same, and is large; a small tool without a network is another thing.
    misses: [
      elf({ data: ["memfd_create", "fexecve", "socket", "connect"], sizeBytes: 200_000 }),
      elf({ data: ["memfd_create", "fexecve"] }),
    ],
  },
};

export const programSamples: Readonly<Record<string, Samples>> = { ...miners, ...bots, ...oddlyMade };
