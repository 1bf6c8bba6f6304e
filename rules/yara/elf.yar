private rule program
{
    condition:
        // An executable or a shared object; core files and kernel modules are others. Byte 5 tells the byte order.
        uint32(0) == 0x464c457f and ((uint8(5) == 1 and (uint16(16) == 2 or uint16(16) == 3)) or (uint8(5) == 2 and (uint16be(16) == 2 or uint16be(16) == 3)))
}

private rule without_sections
{
    condition:
        // e_shnum is at 48 in ELF32 and at 60 in ELF64 (elf(5)).
        program and
        (
            (uint8(4) == 1 and uint16(48) == 0) or
            (uint8(4) == 2 and uint16(60) == 0)
        )
}

rule elf_packed_upx
{
    meta:
        title = "Program packed with UPX"
        description = "A packed program shows nothing of itself before it runs. Some vendors pack; on a device that is the exception."
        severity = "medium"
        author = "Picket"
        attack = "T1027.002"
        tactic = "stealth"

    strings:
        $magic = "UPX!"
        $info = "$Info: This file is packed with the UPX executable packer"

    condition:
        program and (($magic in (0..512) and #magic > 1) or $info)
}

rule elf_packed_upx_damaged
{
    meta:
        title = "Packed program whose packer was made unknown"
        description = "A program packed with UPX whose marks were overwritten, so that the tool cannot unpack it: nobody but bot authors does that."
        severity = "high"
        author = "Picket"
        attack = "T1027.002, T1027.009"
        tactic = "stealth"

    strings:
        $magic = "UPX!"
        // What the unpacking code itself says, in several versions of it.
        $stub1 = "PROT_EXEC|PROT_WRITE failed."
        $stub2 = "/proc/self/exe\x00"
        $info = "executable packer http://upx.sf.net"

    condition:
        without_sections and $stub1 and ($stub2 or $info) and not ($magic in (0..512))
}

rule elf_without_sections
{
    meta:
        title = "Program without section headers"
        description = "Compilers always write section headers. They are missing where a packer, a code generator or somebody who hides was at work."
        severity = "medium"
        author = "Picket"
        attack = "T1027.008"
        tactic = "stealth"

    condition:
        without_sections and filesize > 4KB
}

rule elf_tiny_loader
{
    meta:
        title = "Tiny program that loads another"
        description = "A few hundred bytes of code without libraries or sections, writable and executable at once: a first stage that fetches a second."
        severity = "high"
        author = "Picket"
        attack = "T1105, T1055"
        tactic = "execution"

    condition:
        without_sections and filesize <= 4KB and
        (
            // One or two program headers, the first PT_LOAD with all rights. p_flags is at 24 of the header in ELF32, at 4 in ELF64.
            (uint8(4) == 2 and uint8(5) == 1 and uint16(56) <= 2 and uint32(uint32(32)) == 1 and uint32(uint32(32) + 4) & 7 == 7) or
            (uint8(4) == 1 and uint8(5) == 1 and uint16(44) <= 2 and uint32(uint32(28)) == 1 and uint32(uint32(28) + 24) & 7 == 7) or
            (uint8(4) == 1 and uint8(5) == 2 and uint16be(44) <= 2 and uint32be(uint32be(28)) == 1 and uint32be(uint32be(28) + 24) & 7 == 7)
        )
}

rule elf_writable_code
{
    meta:
        title = "Program that is loaded writable and executable"
        description = "A part of the program is mapped with all rights, so it can change its own code. Linkers have not done that for twenty years; infected and packed programs do."
        severity = "medium"
        author = "Picket"
        attack = "T1027.002"
        tactic = "stealth"

    condition:
        // The program headers stand behind the file's header: at 64 in ELF64, at 52 in ELF32. Flags are read first, as few have all three: each number read costs a call into the engine.
        program and filesize > 4KB and uint8(5) == 1 and
        (
            (uint8(4) == 2 and for any i in (0..11) : (uint32(68 + i * 56) & 7 == 7 and uint32(64 + i * 56) == 1 and i < uint16(56))) or
            (uint8(4) == 1 and for any i in (0..11) : (uint32(76 + i * 32) & 7 == 7 and uint32(52 + i * 32) == 1 and i < uint16(44)))
        ) and
        // Processors that Linux devices have: x86, ARM, x86_64, AArch64, MIPS. Firmware of others is often made like this.
        for any machine in (3, 40, 62, 183, 8) : (uint16(18) == machine)
}

rule elf_preload_rootkit
{
    meta:
        title = "Library that hides things from every program"
        description = "A shared library that puts itself before the functions listing files and connections: a rootkit for /etc/ld.so.preload."
        severity = "critical"
        author = "Picket"
        attack = "T1574.006, T1014"
        tactic = "persistence, privilege-escalation"

    strings:
        $preload = "ld.so.preload"
        $next = "dlsym"
        $hook1 = "readdir64"
        $hook2 = "readdir\x00"
        $hook3 = "__lxstat"
        $hook4 = "pam_authenticate"
        $hook5 = "fopen64"
        $hook6 = "unlinkat"
        $hide1 = "/proc/net/tcp"
        $hide2 = "/proc/self/fd/%d"
        $hide3 = "/proc/%s/"

    condition:
        program and filesize < 2MB and $preload and $next and 3 of ($hook*) and any of ($hide*)
}

rule elf_kernel_rootkit
{
    meta:
        title = "Kernel module that hides or gives rights"
        description = "A kernel module that looks up what modules must not use, and changes the rights of processes or the listing of files and connections."
        severity = "critical"
        author = "Picket"
        attack = "T1014, T1547.006"
        tactic = "persistence"

    strings:
        $module = ".gnu.linkonce.this_module"
        $lookup1 = "kallsyms_lookup_name"
        $lookup2 = "sys_call_table"
        $lookup3 = "register_kprobe"
        $lookup4 = "ftrace_set_filter_ip"
        $do1 = "commit_creds"
        $do2 = "prepare_creds"
        $do3 = "filldir64"
        $do4 = "tcp4_seq_show"
        $do5 = "__x64_sys_getdents64"
        $do6 = "__x64_sys_kill"
        $do7 = "__arm64_sys_getdents64"

    condition:
        uint32(0) == 0x464c457f and uint16(16) == 1 and filesize < 8MB and $module and any of ($lookup*) and 2 of ($do*)
}
