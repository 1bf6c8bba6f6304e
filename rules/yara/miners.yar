private rule elf_program
{
    condition:
        uint32(0) == 0x464c457f
}

private rule small_text
{
    condition:
        uint32(0) != 0x464c457f and filesize < 512KB
}

rule miner_program
{
    meta:
        title = "Cryptocurrency miner"
        description = "A program that holds what only miners of Monero and its relatives need: their algorithms, their options, their way to talk to a pool."
        severity = "high"
        author = "Picket"
        attack = "T1496.001"
        tactic = "impact"

    strings:
        $option1 = "donate-level"
        $option2 = "cpu-max-threads-hint"
        $option3 = "randomx-1gb-pages"
        $option4 = "huge-pages-jit"
        $option5 = "cpu-affinity"
        $option6 = "rig-id"
        $name1 = "xmrig" nocase
        $name2 = "cpuminer" nocase
        $name3 = "xmr-stak"
        $algorithm1 = "cryptonight"
        $algorithm2 = "randomx" nocase
        $algorithm3 = "rx/0"
        $algorithm4 = "cn/r"
        $pool = /stratum\+(tcp|ssl|tls):\/\//

    condition:
        elf_program and any of ($algorithm*) and (3 of ($option*) or ($pool and (2 of ($option*) or any of ($name*))))
}

rule miner_stratum_client
{
    meta:
        title = "Program that talks to a mining pool"
        description = "A program with the messages of the stratum protocol: it asks a pool for work and hands in shares."
        severity = "high"
        author = "Picket"
        attack = "T1496.001, T1071"
        tactic = "impact, command-and-control"

    strings:
        $bitcoin1 = "mining.subscribe"
        $bitcoin2 = "mining.authorize"
        $bitcoin3 = "mining.submit"
        $bitcoin4 = "mining.notify"
        $monero1 = /"method" ?: ?"login"/
        $monero2 = /"method" ?: ?"submit"/
        $monero3 = /"method" ?: ?"keepalived"/
        $monero4 = "\"job_id\""

    condition:
        elf_program and (3 of ($bitcoin*) or 3 of ($monero*))
}

rule miner_configuration
{
    meta:
        title = "Configuration of a cryptocurrency miner"
        description = "A configuration with a pool and a Monero address to be paid to."
        severity = "high"
        author = "Picket"
        attack = "T1496.001"
        tactic = "impact"

    strings:
        $wallet = /"(user|wallet|wallet_address)" ?: ?"[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}[".+\/]/
        $pools = "\"pools\""
        $pool = "\"pool_address\""
        $url = /"url" ?: ?"[^"]{4,200}:[0-9]{2,5}"/
        $coin = /"(algo|coin|donate-level|randomx|cpu)" ?:/

    condition:
        small_text and $wallet and ($pool or ($pools and $url) or $coin)
}

rule miner_installer
{
    meta:
        title = "Script that installs a cryptocurrency miner"
        description = "A script that starts a miner with a pool and an account, or downloads one."
        severity = "high"
        author = "Picket"
        attack = "T1496.001, T1059.004"
        tactic = "impact, execution"

    strings:
        $run = /(xmrig|minerd|xmr-stak|cpuminer)[^\n]{0,120}(-o|--url)[ =][^\n]{4,200}(-u|--user)[ =]/ nocase
        $pool = /stratum\+(tcp|ssl|tls):\/\/[^\s"']{4,}/
        $wallet = /\b[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}\b/
        $download = /(curl|wget)\s[^\n]{0,200}(xmrig|minerd|xmr-stak|cpuminer)[^\n]{0,80}\.(tar|tgz|zip|gz|xz)?/ nocase

    condition:
        small_text and uint16(0) == 0x2123 and ($run or ($pool and $wallet) or ($download and ($pool or $wallet)))
}

rule miner_kills_rivals
{
    meta:
        title = "Script that ends other people's miners"
        description = "Intruders end the miners of those who came before them: a script that names several of them and kills."
        severity = "high"
        author = "Picket"
        attack = "T1496.001, T1489"
        tactic = "impact"

    strings:
        $kill = /\b(pkill|killall|kill -9|xargs( -I ?\S+)? kill)\b/
        $rival1 = "kinsing"
        $rival2 = "kdevtmpfsi"
        $rival3 = "xmrig" nocase
        $rival4 = "watchbog"
        $rival5 = "cryptonight"
        $rival6 = "minerd"
        $rival7 = "ddgs"
        $rival8 = "kthreaddi"
        $rival9 = "networkservice"
        $rival10 = "sysupdate"
        $rival11 = "stratum"
        $rival12 = "monerohash"
        $rival13 = "minexmr"

    condition:
        small_text and uint16(0) == 0x2123 and $kill and 4 of ($rival*)
}
