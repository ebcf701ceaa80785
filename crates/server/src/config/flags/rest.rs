//! The flags of single features, the unsafe ones, those about the configuration itself, and those of the past.

use super::Bind::*;
use super::{Flag, flag, ignored};

pub(super) const FEATURES: &[Flag] = &[
    flag(
        "bootstrap-defrag-threshold-megabytes",
        Uint(|c| &mut c.bootstrap_defrag_threshold_megabytes),
        "0",
        "Defragment at start-up if at least this many megabytes would be freed; 0 turns it off.",
    )
    .planned(),
    flag(
        "compact-hash-check-time",
        Duration(|c| &mut c.compact_hash_check_time),
        "1m0s",
        "Time between checks of hashes at compaction among members.",
    )
    .planned(),
    flag(
        "compaction-batch-limit",
        Int(|c| &mut c.compaction_batch_limit),
        "0",
        "Most revisions removed by one step of a compaction; 0 means 1000.",
    ),
    flag(
        "compaction-sleep-interval",
        Duration(|c| &mut c.compaction_sleep_interval),
        "0s",
        "Pause between steps of a compaction; 0 means 10ms.",
    ),
    flag(
        "corrupt-check-time",
        Duration(|c| &mut c.corrupt_check_time),
        "0s",
        "Time between checks of the whole data among members; 0 turns them off.",
    )
    .planned(),
    flag(
        "downgrade-check-time",
        Duration(|c| &mut c.downgrade_check_time),
        "5s",
        "Time between checks of a downgrade in progress; 0 turns them off.",
    ),
    flag("max-learners", Int(|c| &mut c.max_learners), "1", "Most learners in the cluster."),
    flag(
        "peer-skip-client-san-verification",
        Bool(|c| &mut c.peer_skip_client_san_verification),
        "false",
        "Do not compare the names in peer certificates with addresses.",
    )
    .yaml("peer-transport-security.skip-client-san-verification"),
    flag(
        "snapshot-catchup-entries",
        Uint64(|c| &mut c.snapshot_catchup_entries),
        "5000",
        "Log entries kept for slow followers after a snapshot.",
    ),
    flag(
        "warning-apply-duration",
        Duration(|c| &mut c.warning_apply_duration),
        "100ms",
        "A request whose apply takes longer is logged.",
    ),
    flag(
        "watch-progress-notify-interval",
        Duration(|c| &mut c.watch_progress_notify_interval),
        "0s",
        "Time between progress notifications of watches; 0 means 10m.",
    ),
];

pub(super) const UNSAFE: &[Flag] = &[
    flag(
        "force-new-cluster",
        Bool(|c| &mut c.force_new_cluster),
        "false",
        "Make a one-member cluster of this data directory.",
    ),
    flag(
        "unsafe-no-fsync",
        Bool(|c| &mut c.unsafe_no_fsync),
        "false",
        "Do not wait for the disk. A power cut then loses data.",
    ),
];

pub(super) const CONFIG: &[Flag] = &[
    flag(
        "config-file",
        Text(|c| &mut c.config_file),
        "",
        "Configuration file in YAML; all other flags and variables are then ignored.",
    )
    .no_yaml(),
    flag("version", Bool(|c| &mut c.print_version), "false", "Print the version and exit.").no_yaml(),
];

pub(super) const IGNORED: &[Flag] = &[
    ignored("cluster-active-size"),
    ignored("cluster-remove-delay"),
    ignored("cluster-sync-interval"),
    ignored("config"),
    ignored("force"),
    ignored("max-result-buffer"),
    ignored("max-retry-attempts"),
    ignored("peer-election-timeout"),
    ignored("peer-heartbeat-interval"),
    ignored("retry-interval"),
    ignored("snapshot"),
    ignored("test.coverprofile"),
    ignored("test.outputdir"),
    ignored("v"),
    ignored("vv"),
];
