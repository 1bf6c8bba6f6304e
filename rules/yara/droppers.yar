private rule script
{
    condition:
        // Most begin with "#!"; those that are piped into a shell or lie in a folder of cron begin as people type. Compared as numbers: a pattern would be looked for in the whole file.
        uint32(0) != 0x464c457f and filesize < 1MB and
        (
            uint16(0) == 0x2123 or
            // "cd ", "rm ", "sh "
            uint32be(0) & 0xffffff00 == 0x63642000 or uint32be(0) & 0xffffff00 == 0x726d2000 or uint32be(0) & 0xffffff00 == 0x73682000 or
            // "wget", "curl", "tftp", "bash", "echo", "expo", "PATH", "nohu", "for ", "if [", "set ", "whil", "chmo", "mkdi", "exec", "(cur", "(wge", "impo"
            for any word in (0x77676574, 0x6375726c, 0x74667470, 0x62617368, 0x6563686f, 0x6578706f, 0x50415448, 0x6e6f6875, 0x666f7220, 0x6966205b, 0x73657420,
                0x7768696c, 0x63686d6f, 0x6d6b6469, 0x65786563, 0x28637572, 0x28776765, 0x696d706f) : (uint32be(0) == word) or
            // A line of cron: "*", "@", or a digit.
            uint8(0) == 0x2a or uint8(0) == 0x40 or (uint8(0) >= 0x30 and uint8(0) <= 0x39)
        )
}

rule dropper_for_every_architecture
{
    meta:
        title = "Downloader for every processor"
        description = "A script that fetches the same program for several processors and starts whichever runs: how botnets spread over devices."
        severity = "critical"
        author = "Picket"
        attack = "T1105, T1059.004"
        tactic = "command-and-control, execution"

    strings:
        $fetch = /\b(wget|curl|tftp|ftpget)\s/
        $mode = /\bchmod\s{1,4}(\+x|0?[75][0-7][0-7]|a\+x|u\+x)/
        $arch1 = /[.\/_-]mips\b/
        $arch2 = /[.\/_-](mpsl|mipsel)\b/
        $arch3 = /[.\/_-](arm[4567]?l?|armv[4567]l?)\b/
        $arch4 = /[.\/_-]sh4\b/
        $arch5 = /[.\/_-](ppc|powerpc)\b/
        $arch6 = /[.\/_-](m68k|spc|sparc)\b/
        $arch7 = /[.\/_-](x86|i[3456]86|x86_64)\b/
        $address = /(https?|ftp):\/\/[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}/
        $place = /\bcd \/(tmp|var\/run|dev\/shm|mnt|var\/tmp)/

    condition:
        script and $fetch and $mode and 3 of ($arch*) and ($address or $place)
}

rule dropper_downloads_and_runs
{
    meta:
        title = "Script that downloads a program and hides it"
        description = "A script that fetches something from a bare address into a temporary folder, makes it executable and removes the traces."
        severity = "high"
        author = "Picket"
        attack = "T1105, T1059.004, T1070.004"
        tactic = "command-and-control, execution"

    strings:
        $fetch = /\b(wget|curl|tftp)\s[^\n]{0,200}(https?|ftp):\/\/[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}/
        $mode = /\bchmod\s{1,4}(\+x|0?[75][0-7][0-7]|a\+x|u\+x)/
        $place = /\/(tmp|var\/tmp|dev\/shm|var\/run)\b/
        $trace1 = /\brm\s{1,4}-r?f[^\n]{0,80}(\$0|\/(tmp|var\/tmp|dev\/shm|var\/run)\/)/
        $trace2 = "history -c"
        $trace3 = /HISTFILE=\/dev\/null|unset HISTFILE/
        $trace4 = /\bnohup\s[^\n]{0,200}>\s{0,2}\/dev\/null/
        $trace5 = /\/\.[a-zA-Z0-9]{1,16}\b[^\n]{0,80}(>|2>)\s{0,2}\/dev\/null/

    condition:
        script and $fetch and $mode and $place and any of ($trace*)
}

rule dropper_pipes_address_to_shell
{
    meta:
        title = "Download from a bare address run at once"
        description = "A script that feeds what a bare IP address answers to a shell or another interpreter, without ever writing it to disk."
        severity = "high"
        author = "Picket"
        attack = "T1105, T1059.004"
        tactic = "command-and-control, execution"

    strings:
        $pipe = /\b(wget|curl)\s[^\n|]{0,200}(https?:\/\/)?[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}[^\n|]{0,200}\|\s{0,4}(sudo\s{1,4})?(\/bin\/|\/usr\/bin\/)?(ba|da|z)?(sh|python3?|perl)\b/
        $inside = /\b(ba)?sh\s{1,4}(-c\s{1,4})?["<]?\s{0,2}[$<]\((wget|curl)\s[^\n)]{0,200}[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}/
        $local = /(127\.0\.0\.1|0\.0\.0\.0)/

    condition:
        script and any of ($pipe, $inside) and #pipe + #inside > 0 and not $local
}

rule dropper_encoded_script
{
    meta:
        title = "Script that decodes a script and runs it"
        description = "A long Base64 or hexadecimal text that is decoded and handed to an interpreter."
        severity = "high"
        author = "Picket"
        attack = "T1027, T1140, T1059.004"
        tactic = "execution"

    strings:
        $pipe = /[A-Za-z0-9+\/]{60,4000}={0,2}["']?\s{0,4}\|\s{0,4}(base64\s{1,4}(-d|--decode|-D)|openssl\s{1,4}(base64|enc)[^\n|]{0,40}-d[^\n|]{0,20})\s{0,4}\|\s{0,4}(gunzip\s{0,2}\|\s{0,2}|gzip -d[c]?\s{0,2}\|\s{0,2})?(\/bin\/)?(ba|da|z)?(sh|python3?|perl)\b/
        $hex = /\b[0-9a-fA-F]{80,4000}["']?\s{0,4}\|\s{0,4}xxd\s{1,4}-r[^\n|]{0,20}\|\s{0,4}(\/bin\/)?(ba|da|z)?(sh|python3?|perl)\b/
        $inside = /\beval\s{1,4}["']?[$`]\(?\s{0,4}(echo|printf)[^\n|]{0,40}[A-Za-z0-9+\/]{60,4000}={0,2}["']?\s{0,4}\|\s{0,4}base64\s{1,4}(-d|--decode)/

    condition:
        script and any of them
}

rule dropper_writes_program_in_hex
{
    meta:
        title = "Script that writes a program byte by byte"
        description = "The first bytes of an ELF program as escapes for echo or printf: what is done on devices that have no downloader."
        severity = "high"
        author = "Picket"
        attack = "T1105, T1027.009"
        tactic = "execution"

    strings:
        $escaped = /\b(echo|printf)\s[^\n]{0,40}\\{1,2}x7f\\{1,2}x45\\{1,2}x4c\\{1,2}x46/ nocase
        $letters = /\b(echo|printf)\s[^\n]{0,40}\\{1,2}(x7f|177|0177)ELF\\{1,2}(x0[12]|00[12]|0[12])/ nocase

    condition:
        script and any of them
}

rule dropper_carries_program
{
    meta:
        title = "Script that carries a program"
        description = "A shell script with an ELF program behind it, which it cuts off itself and starts."
        severity = "medium"
        author = "Picket"
        attack = "T1027.009, T1059.004"
        tactic = "execution"

    strings:
        $elf = { 0a 7f 45 4c 46 (01 | 02) (01 | 02) 01 }
        $cut = /\b(tail\s{1,4}(-n\s{0,2}|-c\s{0,2})?\+|dd\s[^\n]{0,60}(skip|bs)=|sed\s[^\n]{0,40}1,)/

    condition:
        uint16(0) == 0x2123 and $elf and $cut in (0..65536)
}

rule dropper_program_in_memory
{
    meta:
        title = "Small program that starts another from memory"
        description = "A small program that takes another one from the network into anonymous memory and starts it there, so that no file is ever seen."
        severity = "high"
        author = "Picket"
        attack = "T1620, T1105"
        tactic = "execution"

    strings:
        $memory = "memfd_create"
        $start1 = "fexecve"
        $start2 = /\/proc\/(self|%d|%i)\/fd\/%[di]/
        $net1 = "connect\x00"
        $net2 = "recv\x00"
        $net3 = "socket\x00"

    condition:
        uint32(0) == 0x464c457f and filesize < 96KB and $memory and any of ($start*) and 2 of ($net*)
}
