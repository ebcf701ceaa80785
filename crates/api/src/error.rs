//! The gRPC error table: one name, code and text for each error that etcd's API gives, checked against the contract.

use std::borrow::Cow;
use std::fmt;

/// The gRPC status codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    Ok = 0,
    Canceled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
    Unauthenticated = 16,
}

impl Code {
    /// The code of a number from the wire; numbers that gRPC does not know are `Unknown`.
    pub fn from_number(number: u32) -> Code {
        use Code::*;
        const ALL: [Code; 17] = [
            Ok,
            Canceled,
            Unknown,
            InvalidArgument,
            DeadlineExceeded,
            NotFound,
            AlreadyExists,
            PermissionDenied,
            ResourceExhausted,
            FailedPrecondition,
            Aborted,
            OutOfRange,
            Unimplemented,
            Internal,
            Unavailable,
            DataLoss,
            Unauthenticated,
        ];
        ALL.get(number as usize).copied().unwrap_or(Unknown)
    }
}

/// What a request ends with when it fails: a gRPC code and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: Code,
    pub message: Cow<'static, str>,
}

impl Status {
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Status {
        Status {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rpc error: code = {:?} desc = {}", self.code, self.message)
    }
}

impl std::error::Error for Status {}

impl From<Error> for Status {
    fn from(error: Error) -> Status {
        Status {
            code: error.wire_code(),
            message: Cow::Borrowed(error.message()),
        }
    }
}

macro_rules! errors {
    ($($name:ident, $code:ident, $wire:ident, $message:literal;)*) => {
        /// Every error of etcd's API, under the name that Go's `rpctypes` gives it (without `ErrGRPC`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Error {
            $(#[doc = $message] $name,)*
        }

        impl Error {
            pub const ALL: &'static [Error] = &[$(Error::$name),*];

            /// The Go identifier without `ErrGRPC`.
            pub fn name(self) -> &'static str {
                match self { $(Error::$name => stringify!($name),)* }
            }

            /// The text on the wire.
            pub fn message(self) -> &'static str {
                match self { $(Error::$name => $message,)* }
            }

            /// The code that the error is declared with.
            pub fn code(self) -> Code {
                match self { $(Error::$name => Code::$code,)* }
            }

            /// The code that a client sees: two errors travel as `Unknown`, because Go's server maps them to the client's own kind.
            pub fn wire_code(self) -> Code {
                match self { $(Error::$name => Code::$wire,)* }
            }
        }
    };
}

errors! {
    AuthFailed, InvalidArgument, InvalidArgument, "etcdserver: authentication failed, invalid user ID or password";
    AuthNotEnabled, FailedPrecondition, FailedPrecondition, "etcdserver: authentication is not enabled";
    AuthOldRevision, InvalidArgument, InvalidArgument, "etcdserver: revision of auth store is old";
    BadLeaderTransferee, FailedPrecondition, FailedPrecondition, "etcdserver: bad leader transferee";
    Canceled, Canceled, Canceled, "etcdserver: request canceled";
    ClusterIDMismatch, FailedPrecondition, FailedPrecondition, "etcdserver: cluster ID mismatch";
    ClusterVersionUnavailable, FailedPrecondition, FailedPrecondition, "etcdserver: cluster version not found during downgrade";
    Compacted, OutOfRange, OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    Corrupt, DataLoss, DataLoss, "etcdserver: corrupt cluster";
    DeadlineExceeded, DeadlineExceeded, DeadlineExceeded, "etcdserver: context deadline exceeded";
    DowngradeInProcess, FailedPrecondition, FailedPrecondition, "etcdserver: cluster has a downgrade job in progress";
    DuplicateKey, InvalidArgument, InvalidArgument, "etcdserver: duplicate key given in txn request";
    EmptyKey, InvalidArgument, InvalidArgument, "etcdserver: key is not provided";
    FutureRev, OutOfRange, OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    InvalidAuthMgmt, InvalidArgument, InvalidArgument, "etcdserver: invalid auth management";
    InvalidAuthToken, Unauthenticated, Unauthenticated, "etcdserver: invalid auth token";
    InvalidClientAPIVersion, InvalidArgument, InvalidArgument, "etcdserver: invalid client api version";
    InvalidDowngradeTargetVersion, InvalidArgument, InvalidArgument, "etcdserver: invalid downgrade target version";
    InvalidSortOption, InvalidArgument, InvalidArgument, "etcdserver: invalid sort option";
    KeyNotFound, InvalidArgument, InvalidArgument, "etcdserver: key not found";
    LeaderChanged, Unavailable, Unavailable, "etcdserver: leader changed";
    LearnerNotReady, FailedPrecondition, FailedPrecondition, "etcdserver: can only promote a learner member which is in sync with leader";
    LeaseExist, FailedPrecondition, FailedPrecondition, "etcdserver: lease already exists";
    LeaseNotFound, NotFound, NotFound, "etcdserver: requested lease not found";
    LeaseProvided, InvalidArgument, InvalidArgument, "etcdserver: lease is provided";
    LeaseTTLTooLarge, OutOfRange, OutOfRange, "etcdserver: too large lease TTL";
    MemberBadURLs, InvalidArgument, InvalidArgument, "etcdserver: given member URLs are invalid";
    MemberExist, FailedPrecondition, FailedPrecondition, "etcdserver: member ID already exist";
    MemberNotEnoughStarted, FailedPrecondition, Unknown, "etcdserver: re-configuration failed due to not enough started members";
    MemberNotFound, NotFound, NotFound, "etcdserver: member not found";
    MemberNotLearner, FailedPrecondition, FailedPrecondition, "etcdserver: can only promote a learner member";
    NoInflightDowngrade, FailedPrecondition, FailedPrecondition, "etcdserver: no inflight downgrade job";
    NoLeader, Unavailable, Unavailable, "etcdserver: no leader";
    NoSpace, ResourceExhausted, ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    NotCapable, FailedPrecondition, FailedPrecondition, "etcdserver: not capable";
    NotLeader, FailedPrecondition, FailedPrecondition, "etcdserver: not leader";
    NotSupportedForLearner, FailedPrecondition, FailedPrecondition, "etcdserver: rpc not supported for learner";
    PeerURLExist, FailedPrecondition, FailedPrecondition, "etcdserver: Peer URLs already exists";
    PermissionDenied, PermissionDenied, PermissionDenied, "etcdserver: permission denied";
    PermissionNotGiven, InvalidArgument, InvalidArgument, "etcdserver: permission not given";
    PermissionNotGranted, FailedPrecondition, FailedPrecondition, "etcdserver: permission is not granted to the role";
    RequestTooLarge, InvalidArgument, InvalidArgument, "etcdserver: request is too large";
    RequestTooManyRequests, ResourceExhausted, Unknown, "etcdserver: too many requests";
    RoleAlreadyExist, FailedPrecondition, FailedPrecondition, "etcdserver: role name already exists";
    RoleEmpty, InvalidArgument, InvalidArgument, "etcdserver: role name is empty";
    RoleNotFound, FailedPrecondition, FailedPrecondition, "etcdserver: role name not found";
    RoleNotGranted, FailedPrecondition, FailedPrecondition, "etcdserver: role is not granted to the user";
    RootRoleNotExist, FailedPrecondition, FailedPrecondition, "etcdserver: root user does not have root role";
    RootUserNotExist, FailedPrecondition, FailedPrecondition, "etcdserver: root user does not exist";
    Stopped, Unavailable, Unavailable, "etcdserver: server stopped";
    Timeout, Unavailable, Unavailable, "etcdserver: request timed out";
    TimeoutDueToConnectionLost, Unavailable, Unavailable, "etcdserver: request timed out, possibly due to connection lost";
    TimeoutDueToLeaderFail, Unavailable, Unavailable, "etcdserver: request timed out, possibly due to previous leader failure";
    TimeoutWaitAppliedIndex, Unavailable, Unavailable, "etcdserver: request timed out, waiting for the applied index took too long";
    TooManyLearners, FailedPrecondition, FailedPrecondition, "etcdserver: too many learner members in cluster";
    TooManyOps, InvalidArgument, InvalidArgument, "etcdserver: too many operations in txn request";
    Unhealthy, Unavailable, Unavailable, "etcdserver: unhealthy cluster";
    UserAlreadyExist, FailedPrecondition, FailedPrecondition, "etcdserver: user name already exists";
    UserEmpty, InvalidArgument, InvalidArgument, "etcdserver: user name is empty";
    UserNotFound, FailedPrecondition, FailedPrecondition, "etcdserver: user name not found";
    ValueProvided, InvalidArgument, InvalidArgument, "etcdserver: value is provided";
    WatchCanceled, Canceled, Canceled, "etcdserver: watch canceled";
    WrongDowngradeVersionFormat, InvalidArgument, InvalidArgument, "etcdserver: wrong downgrade target version format";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}
