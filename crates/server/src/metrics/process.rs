//! What the kernel says of this process, and the names of Go's runtime for what has a meaning here.
//!
//! There is no garbage collector: its counters are there, for dashboards, and stay at zero.

use std::fs;

use super::list::Metrics;
use super::sample::{Metric, Sample, Type, Value};

/// What stands where Go's version stood: in `go_info` and `etcd_server_go_version`.
pub const RUNTIME_VERSION: &str = concat!("rustc ", env!("CARGO_PKG_RUST_VERSION"));

/// Kernel clock ticks a second, as /proc counts: fixed by the kernel's interface to processes.
const TICKS_PER_SECOND: f64 = 100.0;

/// Name, type and help of the metrics of Go's runtime that are plain numbers.
#[rustfmt::skip]
const GO: &[(&str, Type, &str)] = &[
    ("go_gc_gogc_percent", Type::Gauge, "Heap size target percentage configured by the user, otherwise 100. This value is set by the GOGC environment variable, and the runtime/debug.SetGCPercent function. Sourced from /gc/gogc:percent."),
    ("go_gc_gomemlimit_bytes", Type::Gauge, "Go runtime memory limit configured by the user, otherwise math.MaxInt64. This value is set by the GOMEMLIMIT environment variable, and the runtime/debug.SetMemoryLimit function. Sourced from /gc/gomemlimit:bytes."),
    ("go_goroutines", Type::Gauge, "Number of goroutines that currently exist."),
    ("go_memstats_alloc_bytes", Type::Gauge, "Number of bytes allocated in heap and currently in use. Equals to /memory/classes/heap/objects:bytes."),
    ("go_memstats_alloc_bytes_total", Type::Counter, "Total number of bytes allocated in heap until now, even if released already. Equals to /gc/heap/allocs:bytes."),
    ("go_memstats_buck_hash_sys_bytes", Type::Gauge, "Number of bytes used by the profiling bucket hash table. Equals to /memory/classes/profiling/buckets:bytes."),
    ("go_memstats_frees_total", Type::Counter, "Total number of heap objects frees. Equals to /gc/heap/frees:objects + /gc/heap/tiny/allocs:objects."),
    ("go_memstats_gc_sys_bytes", Type::Gauge, "Number of bytes used for garbage collection system metadata. Equals to /memory/classes/metadata/other:bytes."),
    ("go_memstats_heap_alloc_bytes", Type::Gauge, "Number of heap bytes allocated and currently in use, same as go_memstats_alloc_bytes. Equals to /memory/classes/heap/objects:bytes."),
    ("go_memstats_heap_idle_bytes", Type::Gauge, "Number of heap bytes waiting to be used. Equals to /memory/classes/heap/released:bytes + /memory/classes/heap/free:bytes."),
    ("go_memstats_heap_inuse_bytes", Type::Gauge, "Number of heap bytes that are in use. Equals to /memory/classes/heap/objects:bytes + /memory/classes/heap/unused:bytes"),
    ("go_memstats_heap_objects", Type::Gauge, "Number of currently allocated objects. Equals to /gc/heap/objects:objects."),
    ("go_memstats_heap_released_bytes", Type::Gauge, "Number of heap bytes released to OS. Equals to /memory/classes/heap/released:bytes."),
    ("go_memstats_heap_sys_bytes", Type::Gauge, "Number of heap bytes obtained from system. Equals to /memory/classes/heap/objects:bytes + /memory/classes/heap/unused:bytes + /memory/classes/heap/released:bytes + /memory/classes/heap/free:bytes."),
    ("go_memstats_last_gc_time_seconds", Type::Gauge, "Number of seconds since 1970 of last garbage collection."),
    ("go_memstats_mallocs_total", Type::Counter, "Total number of heap objects allocated, both live and gc-ed. Semantically a counter version for go_memstats_heap_objects gauge. Equals to /gc/heap/allocs:objects + /gc/heap/tiny/allocs:objects."),
    ("go_memstats_mcache_inuse_bytes", Type::Gauge, "Number of bytes in use by mcache structures. Equals to /memory/classes/metadata/mcache/inuse:bytes."),
    ("go_memstats_mcache_sys_bytes", Type::Gauge, "Number of bytes used for mcache structures obtained from system. Equals to /memory/classes/metadata/mcache/inuse:bytes + /memory/classes/metadata/mcache/free:bytes."),
    ("go_memstats_mspan_inuse_bytes", Type::Gauge, "Number of bytes in use by mspan structures. Equals to /memory/classes/metadata/mspan/inuse:bytes."),
    ("go_memstats_mspan_sys_bytes", Type::Gauge, "Number of bytes used for mspan structures obtained from system. Equals to /memory/classes/metadata/mspan/inuse:bytes + /memory/classes/metadata/mspan/free:bytes."),
    ("go_memstats_next_gc_bytes", Type::Gauge, "Number of heap bytes when next garbage collection will take place. Equals to /gc/heap/goal:bytes."),
    ("go_memstats_other_sys_bytes", Type::Gauge, "Number of bytes used for other system allocations. Equals to /memory/classes/other:bytes."),
    ("go_memstats_stack_inuse_bytes", Type::Gauge, "Number of bytes obtained from system for stack allocator in non-CGO environments. Equals to /memory/classes/heap/stacks:bytes."),
    ("go_memstats_stack_sys_bytes", Type::Gauge, "Number of bytes obtained from system for stack allocator. Equals to /memory/classes/heap/stacks:bytes + /memory/classes/os-stacks:bytes."),
    ("go_memstats_sys_bytes", Type::Gauge, "Number of bytes obtained from system. Equals to /memory/classes/total:byte."),
    ("go_sched_gomaxprocs_threads", Type::Gauge, "The current runtime.GOMAXPROCS setting, or the number of operating system threads that can execute user-level Go code simultaneously. Sourced from /sched/gomaxprocs:threads."),
    ("go_threads", Type::Gauge, "Number of OS threads created."),
];

/// What /proc/self says.
#[derive(Debug, Default)]
struct Process {
    threads: f64,
    cpu_seconds: f64,
    start_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
    anonymous_bytes: f64,
    stack_bytes: f64,
    open_files: f64,
    max_files: f64,
    max_virtual_bytes: f64,
    received_bytes: f64,
    sent_bytes: f64,
}

impl Process {
    /// None where /proc can't be read: then these metrics are left out, as in Go.
    fn read() -> Option<Process> {
        let mut process = Process::default();
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name may hold anything; what follows it does not.
        let fields: Vec<f64> = stat
            .rsplit_once(')')?
            .1
            .split_whitespace()
            .map(|f| f.parse().unwrap_or(0.0))
            .collect();
        // Counted from the field after the name, which proc(5) numbers 3.
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0.0);
        process.cpu_seconds = (field(14) + field(15)) / TICKS_PER_SECOND;
        process.threads = field(20);
        process.virtual_bytes = field(23);
        let boot = number_after(&fs::read_to_string("/proc/stat").unwrap_or_default(), "btime ");
        process.start_seconds = boot + field(22) / TICKS_PER_SECOND;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        process.resident_bytes = number_after(&status, "VmRSS:") * 1024.0;
        process.anonymous_bytes = number_after(&status, "RssAnon:") * 1024.0;
        process.stack_bytes = number_after(&status, "VmStk:") * 1024.0;
        process.open_files = fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        process.max_files = limit(&limits, "Max open files");
        process.max_virtual_bytes = limit(&limits, "Max address space");
        if let Ok(net) = fs::read_to_string("/proc/self/net/netstat") {
            process.received_bytes = column(&net, "IpExt:", "InOctets");
            process.sent_bytes = column(&net, "IpExt:", "OutOctets");
        }
        Some(process)
    }
}

/// The number after the first line start that begins so.
fn number_after(text: &str, head: &str) -> f64 {
    let line = text.lines().find_map(|l| l.strip_prefix(head));
    line.and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0)
}

/// The soft limit of a line of /proc/self/limits.
fn limit(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    match line.split_whitespace().next() {
        Some("unlimited") => u64::MAX as f64,
        Some(number) => number.parse().unwrap_or(0.0),
        None => 0.0,
    }
}

/// A column of a table that has a line of names and a line of numbers, both begun by its head.
fn column(text: &str, head: &str, name: &str) -> f64 {
    let mut lines = text.lines().filter(|l| l.starts_with(head));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else {
        return 0.0;
    };
    let place = names.split_whitespace().position(|n| n == name);
    place
        .and_then(|p| values.split_whitespace().nth(p))
        .and_then(|v| v.parse().ok())
        .unwrap_or(0.0)
}

pub(super) fn collect(metrics: &Metrics, out: &mut Vec<Metric>) {
    let process = Process::read();
    if let Some(process) = &process {
        metrics.os_fd_used.set(process.open_files as i64);
        metrics.os_fd_limit.set(process.max_files as i64);
        kernel(process, out);
    }
    let process = process.unwrap_or_default();
    for (name, kind, help) in GO {
        out.push(Metric::number(name, help, *kind, go_value(name, &process)));
    }
    let help = "A summary of the wall-time pause (stop-the-world) duration in garbage collection cycles.";
    let quantiles = [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| (q, 0.0)).to_vec();
    let none = Value::Summary {
        quantiles,
        sum: 0.0,
        count: 0,
    };
    let sample = Sample {
        labels: Vec::new(),
        value: none,
    };
    out.push(Metric::new("go_gc_duration_seconds", help, Type::Summary, vec![sample]));
    let labels = vec![("version", RUNTIME_VERSION.to_owned())];
    let sample = Sample {
        labels,
        value: Value::Number(1.0),
    };
    out.push(Metric::new(
        "go_info",
        "Information about the Go environment.",
        Type::Gauge,
        vec![sample],
    ));
}

fn go_value(name: &str, process: &Process) -> f64 {
    match name {
        "go_threads" => process.threads,
        // What runs at once without being a thread is a task.
        "go_goroutines" => tokio::runtime::Handle::try_current().map_or(0.0, |h| h.metrics().num_alive_tasks() as f64),
        "go_sched_gomaxprocs_threads" => std::thread::available_parallelism().map_or(1.0, |n| n.get() as f64),
        "go_gc_gomemlimit_bytes" => i64::MAX as f64,
        "go_memstats_sys_bytes" => process.resident_bytes,
        "go_memstats_alloc_bytes" | "go_memstats_heap_alloc_bytes" | "go_memstats_heap_inuse_bytes" | "go_memstats_heap_sys_bytes" => {
            process.anonymous_bytes
        }
        "go_memstats_stack_inuse_bytes" | "go_memstats_stack_sys_bytes" => process.stack_bytes,
        _ => 0.0,
    }
}

#[rustfmt::skip]
fn kernel(process: &Process, out: &mut Vec<Metric>) {
    let mut add = |name, kind, value, help| out.push(Metric::number(name, help, kind, value));
    add("process_cpu_seconds_total", Type::Counter, process.cpu_seconds, "Total user and system CPU time spent in seconds.");
    add("process_max_fds", Type::Gauge, process.max_files, "Maximum number of open file descriptors.");
    add("process_network_receive_bytes_total", Type::Counter, process.received_bytes, "Number of bytes received by the process over the network.");
    add("process_network_transmit_bytes_total", Type::Counter, process.sent_bytes, "Number of bytes sent by the process over the network.");
    add("process_open_fds", Type::Gauge, process.open_files, "Number of open file descriptors.");
    add("process_resident_memory_bytes", Type::Gauge, process.resident_bytes, "Resident memory size in bytes.");
    add("process_start_time_seconds", Type::Gauge, process.start_seconds, "Start time of the process since unix epoch in seconds.");
    add("process_virtual_memory_bytes", Type::Gauge, process.virtual_bytes, "Virtual memory size in bytes.");
    add("process_virtual_memory_max_bytes", Type::Gauge, process.max_virtual_bytes, "Maximum amount of virtual memory available in bytes.");
}
