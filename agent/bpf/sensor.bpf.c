// Plain tracepoints and helpers only, no CO-RE and no kernel BTF, the same bytes on x86_64 and aarch64. Compiled twice: for kernels with ring buffers (Linux 5.8), and with
// PERF for those without (5.3).
#include "tree.bpf.h"
#include "exec.bpf.h"
#include "exit.bpf.h"
#include "file.bpf.h"
#include "net.bpf.h"
#include "dns.bpf.h"
#include "call.bpf.h"
#include "uring.bpf.h"
#include "raw.bpf.h"

// bpf_probe_read_user, bpf_probe_read_kernel and the signal of a task are for GPL-compatible programs only.
char gpl[] SEC("license") = "GPL";
