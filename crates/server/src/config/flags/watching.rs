//! The flags of what a member tells about itself: metrics, logs, traces.

use super::Bind::*;
use super::{Flag, flag};

pub(super) const MONITORING: &[Flag] = &[
    flag(
        "enable-pprof",
        Bool(|c| &mut c.enable_pprof),
        "false",
        "Serve profiles under /debug/pprof/.",
    )
    .planned(),
    flag(
        "listen-metrics-urls",
        Urls(|c| &mut c.listen_metrics_urls),
        "",
        "Where to serve metrics and health pages besides, comma-separated.",
    ),
    flag(
        "metrics",
        Text(|c| &mut c.metrics),
        "basic",
        "Detail of the metrics: basic or extensive.",
    ),
];

pub(super) const LOGGING: &[Flag] = &[
    flag(
        "enable-log-rotation",
        Bool(|c| &mut c.enable_log_rotation),
        "false",
        "Rotate the log file.",
    )
    .planned(),
    flag(
        "log-format",
        Text(|c| &mut c.log_format),
        "json",
        "Form of log lines: json or console.",
    ),
    flag(
        "log-level",
        Text(|c| &mut c.log_level),
        "info",
        "Least level that is logged: debug, info, warn, error, panic or fatal.",
    ),
    flag(
        "log-outputs",
        Set(|c| &mut c.log_outputs),
        "default",
        "Where log lines go: default, stderr, stdout or files, comma-separated.",
    ),
    flag(
        "log-rotation-config-json",
        Text(|c| &mut c.log_rotation_config_json),
        "{\"maxsize\": 100, \"maxage\": 0, \"maxbackups\": 0, \"localtime\": false, \"compress\": false}",
        "How log files are rotated.",
    ),
    flag("logger", Text(|c| &mut c.logger), "zap", "Only zap is left."),
    flag(
        "warning-unary-request-duration",
        Duration(|c| &mut c.warning_unary_request_duration),
        "300ms",
        "A request that takes longer is logged.",
    ),
];

pub(super) const TRACING: &[Flag] = &[
    flag(
        "distributed-tracing-address",
        Text(|c| &mut c.distributed_tracing_address),
        "localhost:4317",
        "Where spans are sent.",
    ),
    flag(
        "distributed-tracing-instance-id",
        Text(|c| &mut c.distributed_tracing_instance_id),
        "",
        "Name of this instance in spans.",
    ),
    flag(
        "distributed-tracing-sampling-rate",
        Int(|c| &mut c.distributed_tracing_sampling_rate),
        "0",
        "How many of a million requests are traced.",
    ),
    flag(
        "distributed-tracing-service-name",
        Text(|c| &mut c.distributed_tracing_service_name),
        "etcd",
        "Name of the service in spans.",
    ),
    flag(
        "enable-distributed-tracing",
        Bool(|c| &mut c.enable_distributed_tracing),
        "false",
        "Send spans by OpenTelemetry.",
    )
    .planned(),
];
