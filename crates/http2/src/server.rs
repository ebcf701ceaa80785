//! The server's side of a connection.

use std::future::Future;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Config, Connection, HttpHandler, Service};

/// Serves one connection until it ends, in the calling task. `connection` is handed to each call. When `shutdown` ends, the peer is
/// told to go away, open calls are finished, and the connection is closed. Dropping the future drops all calls.
pub async fn serve_connection<IO, S, H>(
    _io: IO,
    _config: Arc<Config>,
    _connection: Connection,
    _service: Arc<S>,
    _http: Arc<H>,
    _shutdown: impl Future<Output = ()> + Send,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    S: Service,
    H: HttpHandler,
{
    unimplemented!()
}
