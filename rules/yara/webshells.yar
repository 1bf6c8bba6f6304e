private rule php
{
    strings:
        $open = /<\?(php|=|\s)/ nocase

    condition:
        // Also behind the header of a picture, where it passes for one.
        uint32(0) != 0x464c457f and filesize < 1MB and $open in (0..2048)
}

rule webshell_php_runs_request
{
    meta:
        title = "Web shell: PHP that runs what it is sent"
        description = "A page that hands a parameter of the request to the PHP interpreter or to a shell."
        severity = "critical"
        author = "Picket"
        attack = "T1505.003, T1059"
        tactic = "persistence, execution"

    strings:
        $run = /\b(eval|assert|system|passthru|shell_exec|popen|proc_open|pcntl_exec)\s{0,8}\(\s{0,8}(@|stripslashes\(|base64_decode\(|trim\(|urldecode\(|\s){0,4}\$_(GET|POST|REQUEST|COOKIE|SERVER\[.HTTP_)/ nocase
        $exec = /[^_.>a-z0-9$]exec\s{0,8}\(\s{0,8}(@|stripslashes\(|base64_decode\(|trim\(|\s){0,4}\$_(GET|POST|REQUEST|COOKIE)/ nocase
        $backtick = /`\s{0,8}\$_(GET|POST|REQUEST|COOKIE)\[[^`]{1,80}`/

    condition:
        php and any of them
}

rule webshell_php_runs_decoded
{
    meta:
        title = "Web shell: PHP that unpacks and runs itself"
        description = "A page whose code is decoded when it runs, so that nobody reads it in the file."
        severity = "high"
        author = "Picket"
        attack = "T1505.003, T1027, T1140"
        tactic = "persistence"

    strings:
        $run = /\b(eval|assert)\s{0,8}\(\s{0,8}(@|\s){0,4}(gzinflate|gzuncompress|gzdecode|base64_decode|str_rot13|strrev|hex2bin|convert_uudecode)\s{0,4}\(/ nocase
        $remote = /\b(eval|assert)\s{0,8}\(\s{0,8}(@|\s){0,4}file_get_contents\s{0,4}\(\s{0,4}["']https?:/ nocase
        $body = /\b(eval|assert)\s{0,8}\(\s{0,8}(@|\s){0,4}file_get_contents\s{0,4}\(\s{0,4}["']php:\/\/input/ nocase

    condition:
        // Development servers run their start-up code this way, in larger files.
        php and ($run or $remote or ($body and filesize < 2KB))
}

rule webshell_php_function_from_request
{
    meta:
        title = "Web shell: PHP that calls what the request names"
        description = "A page that takes the name of a function, or the code of one, from a parameter of the request."
        severity = "critical"
        author = "Picket"
        attack = "T1505.003, T1059"
        tactic = "persistence, execution"

    strings:
        $called = /\$_(GET|POST|REQUEST|COOKIE)\s{0,4}\[[^\]]{1,40}\]\s{0,4}\(\s{0,4}(@\s{0,4})?\$_(GET|POST|REQUEST|COOKIE)/ nocase
        $created = /\bcreate_function\s{0,4}\([^;]{0,80}\$_(GET|POST|REQUEST|COOKIE)/ nocase
        $mapped = /\b(array_map|array_filter|usort|call_user_func(_array)?|register_shutdown_function)\s{0,4}\(\s{0,4}(@\s{0,4})?\$_(GET|POST|REQUEST|COOKIE)/ nocase
        $replaced = /\bpreg_replace\s{0,4}\(\s{0,4}["'].{1,60}\/[a-z]{0,4}e[a-z]{0,4}["'][^;]{0,80}\$_(GET|POST|REQUEST|COOKIE)/ nocase

    condition:
        php and any of them
}

rule webshell_php_well_known
{
    meta:
        title = "Web shell: a well-known one"
        description = "A page with the names and functions of web shells that are handed around: WSO, b374k, c99, r57, p0wny."
        severity = "critical"
        author = "Picket"
        attack = "T1505.003"
        tactic = "persistence"

    strings:
        $name1 = "FilesMan"
        $name2 = "b374k" nocase
        $name3 = "c99shell" nocase
        $name4 = "r57shell" nocase
        $name5 = "p0wny" nocase
        $name6 = "wso_version" nocase
        $name7 = "WSOsetcookie"
        $work1 = "Safe mode:" nocase
        $work2 = "posix_getpwuid"
        $work3 = "disable_functions"
        $work4 = "featureShell"
        $work5 = "back connect" nocase
        $work6 = "Self remove" nocase
        $work7 = "bruteforce" nocase

    condition:
        php and any of ($name*) and 2 of ($work*)
}

rule webshell_jsp
{
    meta:
        title = "Web shell: Java page that runs what it is sent"
        description = "A Java server page that hands a parameter of the request to the operating system, or loads code from it."
        severity = "critical"
        author = "Picket"
        attack = "T1505.003, T1059"
        tactic = "persistence, execution"

    strings:
        $page = /<(%[@!=]?|jsp:)/
        $request = /request\s{0,4}\.\s{0,4}get(Parameter|Header|InputStream|Reader)\s{0,4}\(/
        $run1 = /getRuntime\s{0,4}\(\s{0,4}\)\s{0,4}\.\s{0,4}exec\s{0,4}\(/
        $run2 = /new\s{1,4}ProcessBuilder\s{0,4}\(/
        $run3 = /\.defineClass\s{0,4}\(/

    condition:
        filesize < 512KB and $page in (0..1024) and $request and any of ($run*)
}

rule webshell_cgi
{
    meta:
        title = "Web shell: CGI script that runs what it is sent"
        description = "A script behind a web server that hands the query to a shell. Devices with a small web server are opened this way."
        severity = "critical"
        author = "Picket"
        attack = "T1505.003, T1059.004"
        tactic = "persistence, execution"

    strings:
        $header = /content-type:\s{0,4}text/ nocase
        $shell = /\b(eval|sh -c|bash -c)\s{1,4}[^\n]{0,60}\$\{?(QUERY_STRING|HTTP_[A-Z_]+|REQUEST_URI)/
        $decoded = /\$\{?QUERY_STRING[^\n]{0,120}\|\s{0,4}(ba)?sh\b/
        $python = /(os\.(system|popen)|subprocess\.(run|call|Popen|check_output|getoutput))\s{0,4}\([^\n]{0,80}(QUERY_STRING|getvalue\s{0,4}\(|getfirst\s{0,4}\()/
        $perl = /(system|exec|`|qx)\s{0,4}[\(\{\/]?\s{0,4}[^\n]{0,40}(\$ENV\{.?QUERY_STRING|param\s{0,4}\()/

    condition:
        uint16(0) == 0x2123 and filesize < 256KB and $header and any of ($shell, $decoded, $python, $perl)
}
