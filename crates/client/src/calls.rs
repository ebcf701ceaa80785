//! etcd's methods by name, each with what may be repeated: reads may, writes only when they were not sent (as etcd's own client does).

use api::Status;
use api::pb::etcdserverpb::*;
use api::pb::health::{HealthCheckRequest, HealthCheckResponse};

use crate::{Client, Receiver, Repeat, Sender};

/// The methods' paths.
pub mod path {
    pub const RANGE: &str = "/etcdserverpb.KV/Range";
    pub const RANGE_STREAM: &str = "/etcdserverpb.KV/RangeStream";
    pub const WATCH: &str = "/etcdserverpb.Watch/Watch";
    pub const LEASE_KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
    pub const SNAPSHOT: &str = "/etcdserverpb.Maintenance/Snapshot";
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident($request:ident) -> $answer:ident, $path:literal, $repeat:ident;)*) => {
        impl Client {
            $(
                #[doc = concat!("`", $path, "`")]
                $(#[$doc])*
                ///
                /// # Errors
                /// The call's status.
                pub async fn $name(&self, request: &$request) -> Result<$answer, Status> {
                    self.unary($path, request, Repeat::$repeat).await
                }
            )*
        }
    };
}

unary! {
    range(RangeRequest) -> RangeResponse, "/etcdserverpb.KV/Range", Yes;
    put(PutRequest) -> PutResponse, "/etcdserverpb.KV/Put", UnlessSent;
    delete_range(DeleteRangeRequest) -> DeleteRangeResponse, "/etcdserverpb.KV/DeleteRange", UnlessSent;
    txn(TxnRequest) -> TxnResponse, "/etcdserverpb.KV/Txn", UnlessSent;
    compact(CompactionRequest) -> CompactionResponse, "/etcdserverpb.KV/Compact", UnlessSent;

    lease_grant(LeaseGrantRequest) -> LeaseGrantResponse, "/etcdserverpb.Lease/LeaseGrant", Yes;
    lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse, "/etcdserverpb.Lease/LeaseRevoke", Yes;
    lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse, "/etcdserverpb.Lease/LeaseTimeToLive", Yes;
    lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse, "/etcdserverpb.Lease/LeaseLeases", Yes;

    member_list(MemberListRequest) -> MemberListResponse, "/etcdserverpb.Cluster/MemberList", Yes;
    member_add(MemberAddRequest) -> MemberAddResponse, "/etcdserverpb.Cluster/MemberAdd", UnlessSent;
    member_remove(MemberRemoveRequest) -> MemberRemoveResponse, "/etcdserverpb.Cluster/MemberRemove", UnlessSent;
    member_update(MemberUpdateRequest) -> MemberUpdateResponse, "/etcdserverpb.Cluster/MemberUpdate", UnlessSent;
    member_promote(MemberPromoteRequest) -> MemberPromoteResponse, "/etcdserverpb.Cluster/MemberPromote", UnlessSent;

    alarm(AlarmRequest) -> AlarmResponse, "/etcdserverpb.Maintenance/Alarm", Yes;
    status(StatusRequest) -> StatusResponse, "/etcdserverpb.Maintenance/Status", Yes;
    defragment(DefragmentRequest) -> DefragmentResponse, "/etcdserverpb.Maintenance/Defragment", UnlessSent;
    hash(HashRequest) -> HashResponse, "/etcdserverpb.Maintenance/Hash", Yes;
    hash_kv(HashKvRequest) -> HashKvResponse, "/etcdserverpb.Maintenance/HashKV", Yes;
    move_leader(MoveLeaderRequest) -> MoveLeaderResponse, "/etcdserverpb.Maintenance/MoveLeader", Yes;
    downgrade(DowngradeRequest) -> DowngradeResponse, "/etcdserverpb.Maintenance/Downgrade", UnlessSent;

    auth_enable(AuthEnableRequest) -> AuthEnableResponse, "/etcdserverpb.Auth/AuthEnable", UnlessSent;
    auth_disable(AuthDisableRequest) -> AuthDisableResponse, "/etcdserverpb.Auth/AuthDisable", UnlessSent;
    auth_status(AuthStatusRequest) -> AuthStatusResponse, "/etcdserverpb.Auth/AuthStatus", Yes;
    authenticate(AuthenticateRequest) -> AuthenticateResponse, "/etcdserverpb.Auth/Authenticate", UnlessSent;
    user_add(AuthUserAddRequest) -> AuthUserAddResponse, "/etcdserverpb.Auth/UserAdd", UnlessSent;
    user_get(AuthUserGetRequest) -> AuthUserGetResponse, "/etcdserverpb.Auth/UserGet", Yes;
    user_list(AuthUserListRequest) -> AuthUserListResponse, "/etcdserverpb.Auth/UserList", Yes;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse, "/etcdserverpb.Auth/UserDelete", UnlessSent;
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse, "/etcdserverpb.Auth/UserChangePassword", UnlessSent;
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse, "/etcdserverpb.Auth/UserGrantRole", UnlessSent;
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse, "/etcdserverpb.Auth/UserRevokeRole", UnlessSent;
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse, "/etcdserverpb.Auth/RoleAdd", UnlessSent;
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse, "/etcdserverpb.Auth/RoleGet", Yes;
    role_list(AuthRoleListRequest) -> AuthRoleListResponse, "/etcdserverpb.Auth/RoleList", Yes;
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse, "/etcdserverpb.Auth/RoleDelete", UnlessSent;
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse, "/etcdserverpb.Auth/RoleGrantPermission", UnlessSent;
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse, "/etcdserverpb.Auth/RoleRevokePermission", UnlessSent;

    health_check(HealthCheckRequest) -> HealthCheckResponse, "/grpc.health.v1.Health/Check", Yes;
}

impl Client {
    /// Authenticates and sends the token with every further call.
    ///
    /// # Errors
    /// The call's status.
    pub async fn login(&self, name: &str, password: &str) -> Result<(), Status> {
        let request = AuthenticateRequest {
            name: name.to_string(),
            password: password.to_string(),
        };
        let answer = self.authenticate(&request).await?;
        self.set_token(Some(&answer.token));
        Ok(())
    }

    /// A watch stream: create, cancel and progress requests in, answers out.
    ///
    /// # Errors
    /// Code 14 when there is no connection.
    pub async fn watch(&self) -> Result<(Sender<WatchRequest>, Receiver<WatchResponse>), Status> {
        self.stream(path::WATCH).await
    }

    /// A keep-alive stream: lease ids in, their new times to live out.
    ///
    /// # Errors
    /// Code 14 when there is no connection.
    pub async fn lease_keep_alive(&self) -> Result<(Sender<LeaseKeepAliveRequest>, Receiver<LeaseKeepAliveResponse>), Status> {
        self.stream(path::LEASE_KEEP_ALIVE).await
    }

    /// The database as a snapshot file, in pieces.
    ///
    /// # Errors
    /// Code 14 when there is no connection.
    pub async fn snapshot(&self) -> Result<Receiver<SnapshotResponse>, Status> {
        self.server_stream(path::SNAPSHOT, &SnapshotRequest {}).await
    }

    /// A range in pieces.
    ///
    /// # Errors
    /// Code 14 when there is no connection.
    pub async fn range_stream(&self, request: &RangeRequest) -> Result<Receiver<RangeStreamResponse>, Status> {
        self.server_stream(path::RANGE_STREAM, request).await
    }

    async fn server_stream<Q: prost::Message, A: prost::Message + Default>(
        &self,
        path: &'static str,
        request: &Q,
    ) -> Result<Receiver<A>, Status> {
        let (sender, receiver) = self.stream::<Q, A>(path).await?;
        // A call that ended already tells the receiver why.
        let _ = sender.send(request).await;
        Ok(receiver)
    }
}
