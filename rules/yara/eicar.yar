rule eicar_test_file
{
    meta:
        title = "EICAR test file"
        description = "The harmless file every scanner agrees to find: the way from device to alert works."
        severity = "medium"
        author = "Picket"
        attack = "T1204.002"
        tactic = "execution"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"

    strings:
        // In two parts, so that no scanner finds this file.
        $start = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-"
        $end = "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"

    condition:
        // The specification allows white space behind it, up to 128 bytes in all; other files only quote it.
        $start at 0 and $end at 34 and filesize <= 128
}
