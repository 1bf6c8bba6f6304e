private rule small_elf
{
    condition:
        // They are made for devices with little flash. Large files are then not searched for their patterns at all.
        uint32(0) == 0x464c457f and filesize < 1MB
}

rule bot_mirai_like
{
    meta:
        title = "Bot of the Mirai family"
        description = "A program that keeps the watchdog quiet, looks for rivals and logs in to other devices by telnet, as Mirai and its many children do."
        severity = "critical"
        author = "Picket"
        attack = "T1498, T1110.001, T1595.002"
        tactic = "impact, credential-access"
        reference = "https://www.usenix.org/conference/usenixsecurity17/technical-sessions/presentation/antonakakis"

    strings:
        $watchdog1 = "/dev/watchdog"
        $watchdog2 = "/dev/misc/watchdog"
        $watchdog3 = "/dev/FTWDT101_watchdog"
        $telnet1 = "/bin/busybox "
        $telnet2 = "applet not found"
        $telnet3 = "ncorrect"
        $telnet4 = "ogin:"
        $telnet5 = "assword:"
        $rival1 = "/proc/net/tcp"
        $rival2 = "dvrHelper"
        $flood1 = "TSource Engine Query"
        $flood2 = "GET /bins/"
        $flood3 = ".anime"

    condition:
        small_elf and any of ($watchdog*) and 2 of ($telnet*) and (any of ($flood*) or 2 of ($watchdog*) or any of ($rival*))
}

rule bot_hidden_strings
{
    meta:
        title = "Bot that hides its strings"
        description = "Paths that only bots hide behind an exclusive-or with one byte, as Mirai's table of strings does."
        severity = "critical"
        author = "Picket"
        attack = "T1027.013, T1498"
        tactic = "impact"

    strings:
        $busybox = "/bin/busybox" xor(0x01-0xff)
        $watchdog = "/dev/watchdog" xor(0x01-0xff)
        $tcp = "/proc/net/tcp" xor(0x01-0xff)
        $flood = "TSource Engine Query" xor(0x01-0xff)
        $preload = "/etc/ld.so.preload" xor(0x01-0xff)

    condition:
        small_elf and 2 of them
}

rule bot_gafgyt_like
{
    meta:
        title = "Bot of the Gafgyt family"
        description = "A program with the order words of Gafgyt (also called BASHLITE, Lizkebab, Torlus), which floods others on request."
        severity = "critical"
        author = "Picket"
        attack = "T1498.001, T1071"
        tactic = "impact, command-and-control"

    strings:
        $order1 = "GETLOCALIP" fullword
        $order2 = "SCANNER ON"
        $order3 = "KILLATTK" fullword
        $order4 = "LOLNOGTFO" fullword
        $order5 = "JUNK Flooding"
        $order6 = "HOLD Flooding"
        $order7 = "UDP Flooding"
        $order8 = "TCP Flooding"
        $order9 = "BOTKILL" fullword
        $order10 = "STDHEX" fullword
        $order11 = "CLOUDFLARE" fullword
        $report1 = "REPORT %s:%s:"
        $report2 = "[Shelling]"
        $report3 = "BUILD %s:%s"

    condition:
        small_elf and (3 of ($order*) or (2 of ($order*) and any of ($report*)))
}

rule bot_irc_flooder
{
    meta:
        title = "Bot that takes orders by IRC"
        description = "A program or script that joins an IRC channel and floods on request, as Tsunami (Kaiten) and the Perl bots do."
        severity = "critical"
        author = "Picket"
        attack = "T1071, T1498.001"
        tactic = "command-and-control, impact"

    strings:
        $irc1 = /PRIVMSG [%$]/
        $irc2 = /JOIN [%$]/
        $irc3 = /NICK [%$]/
        $flood1 = "TSUNAMI <target>" nocase
        $flood2 = "PAN <target>" nocase
        $flood3 = "UNKNOWN <target>" nocase
        $flood4 = "Killing pid %d"
        $flood5 = "GETSPOOFS"
        $flood6 = "KILLALL" fullword
        $flood7 = /\budpflood\b/ nocase
        $flood8 = /\btcpflood\b/ nocase
        $flood9 = /\bhttpflood\b/ nocase

    condition:
        filesize < 4MB and (uint32(0) == 0x464c457f or uint16(0) == 0x2123) and 2 of ($irc*) and 2 of ($flood*)
}

rule bot_attacks_devices
{
    meta:
        title = "Program that attacks routers and cameras"
        description = "A program that holds the paths of several known holes in routers, cameras and recorders: it spreads."
        severity = "critical"
        author = "Picket"
        attack = "T1190, T1210"
        tactic = "initial-access, lateral-movement"

    strings:
        $hole1 = "/ctrlt/DeviceUpgrade_1"
        $hole2 = "/picsdesc.xml"
        $hole3 = "/wanipcn.xml"
        $hole4 = "/GponForm/diag_Form"
        $hole5 = "SOAPAction: http://purenetworks.com/HNAP1/"
        $hole6 = "/setup.cgi?next_file=netgear.cfg"
        $hole7 = "/tmUnblock.cgi"
        $hole8 = "/shell?cd+/tmp"
        $hole9 = "/cgi-bin/ViewLog.asp"
        $hole10 = "/language/Swedish${IFS}&&"
        $hole11 = "/UD/act?1"
        $hole12 = "/boaform/admin/formPing"
        $hole13 = "/cgi-bin/supervisor/CloudSetup.cgi"
        $hole14 = "/goform/set_LimitClient_cfg"

    condition:
        small_elf and 2 of them
}

rule bot_factory_passwords
{
    meta:
        title = "Program with the factory passwords of devices"
        description = "A program that holds several passwords cameras and recorders are delivered with: it tries them on others."
        severity = "high"
        author = "Picket"
        attack = "T1110.001, T1078.001"
        tactic = "credential-access"

    strings:
        $password1 = "xc3511" fullword
        $password2 = "vizxv" fullword
        $password3 = "juantech" fullword
        $password4 = "7ujMko0" // continued by "admin" or "vizxv"
        $password5 = "klv1234" fullword
        $password6 = "hi3518" fullword
        $password7 = "jvbzd" fullword
        $password8 = "zlxx." fullword
        $password9 = "GM8182" fullword
        $password10 = "realtek" fullword
        $password11 = "xmhdipc" fullword
        $password12 = "tsgoingon" fullword
        $password13 = "Zte521" fullword

    condition:
        small_elf and 4 of them
}
