rule bench_text {
    meta:
        title = "Text nobody types"
        text = true

    strings:
        $text = "a text that no command line of the bench has"

    condition:
        $text
}
