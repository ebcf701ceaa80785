//! Wire types, ids and newtypes, the gRPC error table, limits. No logic, no I/O.
//!
//! The messages under [`pb`] are compiled from `proto/` by `cargo xtask codegen` and committed. Their `bytes` fields are
//! [`bytes::Bytes`], so that decoding a request copies nothing.

pub mod error;
pub mod ids;
pub mod limits;

pub use error::{Code, Error, Status};
pub use ids::{ClusterId, LeaseId, MemberId, RaftIndex, Revision, Term};

/// What `/version`, `Status` and the logs report.
pub const SERVER_VERSION: &str = "3.7.1";
/// The oldest cluster version this server can join.
pub const MIN_CLUSTER_VERSION: &str = "3.0.0";

/// The compiled protobuf messages, one module a package.
#[allow(clippy::all, missing_docs)]
pub mod pb {
    pub mod authpb {
        include!("gen/authpb.rs");
    }
    pub mod etcdserverpb {
        include!("gen/etcdserverpb.rs");
    }
    pub mod health {
        include!("gen/grpc.health.v1.rs");
    }
    pub mod leasepb {
        include!("gen/leasepb.rs");
    }
    pub mod membershippb {
        include!("gen/membershippb.rs");
    }
    pub mod mvccpb {
        include!("gen/mvccpb.rs");
    }
    pub mod raftpb {
        include!("gen/raftpb.rs");
    }
    pub mod snappb {
        include!("gen/snappb.rs");
    }
    pub mod v3electionpb {
        include!("gen/v3electionpb.rs");
    }
    pub mod v3lockpb {
        include!("gen/v3lockpb.rs");
    }
    pub mod walpb {
        include!("gen/walpb.rs");
    }
    /// All of `proto/` as one `google.protobuf.FileDescriptorSet`, for whoever needs names and numbers at run time (the JSON gateway).
    pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");
}
