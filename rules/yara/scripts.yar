private rule text_file
{
    condition:
        // Not a program, and small enough to be read by people. A line of cron has no `#!`.
        uint32(0) != 0x464c457f and filesize < 256KB
}

private rule shebang
{
    condition:
        uint16(0) == 0x2123 and filesize < 512KB
}

rule script_reverse_shell_bash
{
    meta:
        title = "Reverse shell in bash"
        description = "A shell whose input and output are a connection to somebody else's machine."
        severity = "critical"
        author = "Picket"
        attack = "T1059.004, T1095"
        tactic = "execution, command-and-control"

    strings:
        $interactive = /\b(ba)?sh\s{1,4}-i\s[^\n]{0,20}>&?\s{0,2}\/dev\/(tcp|udp)\/[^\s\/]{1,64}\/[0-9$]/
        $redirected = /\bexec\s{1,4}[0-9]{1,3}<>\s{0,2}\/dev\/(tcp|udp)\/[^\s\/]{1,64}\/[0-9$]/
        $back = /([0-9]{1,3}>&[0-9]{1,3}|<&[0-9]{1,3}|\|\s{0,2}while read)/

    condition:
        text_file and ($interactive or ($redirected and $back))
}

rule script_reverse_shell_pipe
{
    meta:
        title = "Reverse shell by a named pipe"
        description = "A shell that is connected to netcat, telnet or openssl by a named pipe."
        severity = "critical"
        author = "Picket"
        attack = "T1059.004, T1095"
        tactic = "execution, command-and-control"

    strings:
        $pipe = /\b(mkfifo|mknod)\s[^\n]{1,80}(;|&&|\n)\s{0,4}[^\n]{0,120}\|\s{0,4}(\/bin\/)?(ba|da)?sh\s[^\n]{0,40}\|\s{0,4}(nc|ncat|netcat|telnet|openssl|busybox nc)\s/
        $execute = /\b(nc|ncat|netcat)\s[^\n]{0,60}(-e|-c|--exec|--sh-exec)\s{1,4}(\/bin\/|\/usr\/bin\/)?(ba|da)?sh\b/
        $socat = /\bsocat\s+[^\s=][^\n]{0,160}exec:["']?[^\n]{0,40}\b(ba|da)?sh\b[^\n]{0,60}(pty|stderr)/ nocase

    condition:
        text_file and any of them
}

rule script_reverse_shell_interpreter
{
    meta:
        title = "Reverse shell in an interpreter"
        description = "A script that makes a connection its input and output and starts a shell."
        severity = "critical"
        author = "Picket"
        attack = "T1059.006, T1059.004, T1095"
        tactic = "execution, command-and-control"

    strings:
        $python1 = /\bos\.dup2\s{0,4}\(\s{0,4}\w{1,20}\.fileno\s{0,4}\(\s{0,4}\)/
        $python2 = /(pty\.spawn|subprocess\.(call|run|Popen)|os\.(system|exec[lv]\w{0,2}))\s{0,4}\(\s{0,4}\[?\s{0,4}["'](\/bin\/|\/usr\/bin\/)?(ba|da)?sh\b/
        $perl = /open\s{0,4}\(\s{0,4}STD(IN|OUT|ERR)\s{0,4},\s{0,4}["']\s{0,2}[<>]{1,2}&\s{0,2}[\w$]{1,20}["']\s{0,4}\)[^\n]{0,200}exec\s{0,4}[\({]\s{0,4}["'](\/bin\/)?(ba)?sh/
        $php = /fsockopen\s{0,4}\([^\n]{0,120}\b(exec|shell_exec|system|passthru|proc_open|popen)\s{0,4}\(\s{0,4}["'](\/bin\/)?(ba)?sh\b/
        $ruby = /TCPSocket\.(new|open)\s{0,4}[\(\s][^\n]{0,200}(exec|IO\.popen|sprintf\s{0,2}\(\s{0,2}["'](\/bin\/)?sh)/
        $lua = /require\s{0,4}\(\s{0,4}["']socket["'][^\n]{0,400}os\.execute\s{0,4}\(\s{0,4}["'](\/bin\/)?sh -i/

    condition:
        text_file and (($python1 and $python2) or any of ($perl, $php, $ruby, $lua))
}

rule script_cron_downloads
{
    meta:
        title = "Cron entry that downloads and runs"
        description = "A line for cron, in its own file or written by a script, that feeds what it downloads to a shell again and again."
        severity = "high"
        author = "Picket"
        attack = "T1053.003, T1105"
        tactic = "persistence, command-and-control"

    strings:
        $line = /[*0-9][*0-9\/,-]{0,8}\s{1,4}[*0-9][*0-9\/,-]{0,8}\s{1,4}\*\s{1,4}\*\s{1,4}\*\s{1,4}[^\n]{0,80}\b(curl|wget)\s[^\n]{1,200}(\|\s{0,4}(\/bin\/)?(ba|da)?sh\b|;\s{0,4}(ba)?sh\s)/

    condition:
        text_file and $line
}

rule script_plants_ssh_key
{
    meta:
        title = "Script that plants an SSH key"
        description = "A script that brings its own public key into authorized_keys and protects it, or does so for every user."
        severity = "high"
        author = "Picket"
        attack = "T1098.004"
        tactic = "persistence"

    strings:
        $key = /(ssh-rsa AAAAB3NzaC1yc2E|ssh-ed25519 AAAAC3NzaC1lZDI1NTE5|ecdsa-sha2-nistp256 AAAAE2VjZHNh)[A-Za-z0-9+\/]{20,1000}/
        $file = /\.ssh\/authorized_keys2?\b/
        $protect1 = /\bchattr\s{1,4}[-+=]?[a-z]{0,4}\s{0,2}[+-]?[ia]{1,4}\s/
        $protect2 = /\bfor\s{1,4}\w{1,20}\s{1,4}in\s[^\n]{0,80}(\/home|\/etc\/passwd|getent passwd)/
        $protect3 = /\/root\/\.ssh\/authorized_keys/
        $write = />\s{0,4}["']?[^\n]{0,60}authorized_keys/

    condition:
        shebang and $key and $file and $write and any of ($protect*)
}

rule script_switches_protection_off
{
    meta:
        title = "Script that switches protection off"
        description = "A script that disables several of a machine's protections one after another: firewall, mandatory access control, auditing, history."
        severity = "high"
        author = "Picket"
        attack = "T1685, T1686, T1070.003"
        tactic = "defense-impairment"

    strings:
        $off1 = /\bsetenforce\s{1,4}0\b/
        $off2 = /\bSELINUX=disabled\b/
        $off3 = /\bufw\s{1,4}disable\b/
        $off4 = /\biptables\s{1,4}-F\b/
        $off5 = /\bsystemctl\s{1,4}(stop|disable)[^\n]{0,20}\s(apparmor|auditd|firewalld|falcon-sensor|wazuh-agent|osqueryd|rsyslog|picket-agent)\b/
        $off6 = /\bservice\s{1,4}(apparmor|auditd|iptables|aliyun|aegis|cloudmonitor|picket-agent)\s{1,4}stop\b/
        $off7 = /echo\s{1,4}["']?0["']?\s{0,4}>\s{0,4}\/proc\/sys\/kernel\/(nmi_watchdog|randomize_va_space|yama\/ptrace_scope)/
        $off8 = /(>\s{0,2}|rm -r?f )\/var\/log\/(auth\.log|secure|wtmp|lastlog|syslog|messages)/
        $off9 = "history -c"
        $off10 = /unset\s{1,4}HISTFILE|HISTFILE=\/dev\/null|HISTSIZE=0/
        $off11 = /\bchattr\s{1,4}-[iaue]{1,4}\s[^\n]{0,40}\/(etc|tmp|var|root)/
        $off12 = /\/uninstall(agent|_agent)?\.sh|\/etc\/init\.d\/aegis/

    condition:
        shebang and 4 of them
}

rule script_preloads_library
{
    meta:
        title = "Script that loads a library into every program"
        description = "A script that writes a path into /etc/ld.so.preload: from then on every program loads that library. Rootkits live there."
        severity = "critical"
        author = "Picket"
        attack = "T1574.006"
        tactic = "persistence, privilege-escalation"

    strings:
        $write = /(>|\btee\b)\s{0,4}(-a\s{1,4})?["']?\/etc\/ld\.so\.preload/
        $library = /[\/][\w.\/-]{1,100}\.so\b/

    condition:
        shebang and $write and #library > 0
}

rule script_spreads_by_ssh
{
    meta:
        title = "Script that spreads by SSH"
        description = "A script that collects hosts and keys of the users of a machine and logs in to all of them without asking."
        severity = "critical"
        author = "Picket"
        attack = "T1021.004, T1552.004, T1018"
        tactic = "lateral-movement, credential-access, discovery"

    strings:
        $hosts1 = "known_hosts"
        $hosts2 = ".bash_history"
        $hosts3 = "HostName"
        $keys = /(id_rsa|id_ed25519|IdentityFile|\.pem)\b/
        $quiet1 = /StrictHostKeyChecking[= ]no/
        $quiet2 = /BatchMode[= ]yes/
        $loop = /\b(for|while)\s[^\n]{1,120}(;|\n)\s{0,4}do\b/
        $run = /\bssh\s[^\n]{1,300}(curl|wget|base64|\|\s{0,4}(ba)?sh|\/tmp\/)/

    condition:
        shebang and 2 of ($hosts*) and $keys and any of ($quiet*) and $loop and $run
}

rule script_steals_cloud_credentials
{
    meta:
        title = "Script that collects credentials of cloud accounts"
        description = "A script that reads the keys a machine has for its cloud, from files and from the metadata service, and sends them away."
        severity = "high"
        author = "Picket"
        attack = "T1552.001, T1552.005, T1041"
        tactic = "credential-access, exfiltration"

    strings:
        $service = /169\.254\.169\.254\/(latest\/(meta-data\/iam|api\/token)|computeMetadata|metadata\/identity)/
        $file1 = ".aws/credentials"
        $file2 = ".config/gcloud"
        $file3 = ".azure/"
        $file4 = ".docker/config.json"
        $file5 = ".kube/config"
        $file6 = ".git-credentials"
        $file7 = ".s3cfg"
        $send = /\b(curl|wget)\s[^\n]{0,200}(-F|--form|-T|--upload-file|-d|--data\S{0,10}|--post-file)[ =]?[^\n]{1,200}/

    condition:
        shebang and $send and (3 of ($file*) or ($service and any of ($file*)))
}

rule script_python_runs_decoded
{
    meta:
        title = "Python that unpacks and runs itself"
        description = "Python code that is decoded or unpacked when it runs, so that nobody reads it in the file."
        severity = "high"
        author = "Picket"
        attack = "T1027, T1140, T1059.006"
        tactic = "execution"

    strings:
        $nested = /\bexec\s{0,4}\(\s{0,4}(compile\s{0,4}\(\s{0,4})?(\w{1,20}\.)?(__import__\s{0,4}\(\s{0,4}["'](base64|zlib|marshal|codecs|lzma)["']\s{0,4}\)\.(b64decode|decompress|loads|decode)|b64decode|base64\.b(16|32|64|85)decode|zlib\.decompress|marshal\.loads|lzma\.decompress|bytes\.fromhex|codecs\.decode)\s{0,4}\(/
        $lambda = /_\s{0,2}=\s{0,2}lambda\s{1,4}__\s{0,2}:\s{0,2}__import__\(/

    condition:
        text_file and any of them
}
