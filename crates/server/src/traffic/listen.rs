//! The peer port: accepts connections of other members, checks who they are, and hands them to the transport.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use compat::url::Url;
use http::{Request, Response, StatusCode};
use peer::{BoxFuture, Io, RequestBody, Transport};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;

use crate::http::Body;
use crate::log::{self, field};
use crate::peers::PeerPages;
use crate::serve::Listener;
use crate::tls::{self, ClientIdentity, ServerTls};

/// How long a handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// After an accept that failed, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The longest request to a page: a lease's, with room to spare.
const PAGE_REQUEST_LIMIT: usize = 1 << 20;

/// What a peer listener serves.
#[derive(Clone)]
pub struct PeerDoor {
    pub transport: Transport,
    pub pages: Arc<PeerPages>,
    pub tls: Option<Arc<ServerTls>>,
    /// A certificate has to name the address that it comes from (`--peer-skip-client-san-verification` says no).
    pub check_holder: bool,
}

/// Accepts until shutdown.
///
/// # Errors
/// When the socket can't be waited on.
pub async fn listen(door: PeerDoor, url: Url, listener: Listener, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    log::info("serving peer traffic", &[field("address", url.address())]);
    let door = PeerDoor {
        tls: door.tls.clone().filter(|_| url.is_secure()),
        ..door
    };
    match listener {
        Listener::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            while let Some(accepted) = until(&mut stop, listener.accept()).await {
                if let Some((socket, address)) = survive(accepted).await {
                    let (door, stop) = (door.clone(), stop.clone());
                    tokio::spawn(async move { door.secure(socket, address, stop).await });
                }
            }
        }
        Listener::Unix(listener) => {
            let listener = UnixListener::from_std(listener)?;
            while let Some(accepted) = until(&mut stop, listener.accept()).await {
                if let Some((socket, _)) = survive(accepted).await {
                    let (door, stop) = (door.clone(), stop.clone());
                    // Nobody comes from elsewhere to a socket file, so there is no address to check.
                    tokio::spawn(async move { door.serve(Box::new(socket), "@".to_owned(), stop).await });
                }
            }
        }
    }
    Ok(())
}

async fn until<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        _ = stop.wait_for(|stop| *stop) => None,
    }
}

async fn survive<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            log::warn("failed to accept a peer connection", &[field("error", error.to_string())]);
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Who was sent away, as far as is known, and why.
struct Rejected {
    server_name: String,
    identity: Option<ClientIdentity>,
    error: String,
}

impl Rejected {
    /// In the handshake already: nothing is known but the reason.
    fn before(error: String) -> Rejected {
        Rejected {
            server_name: String::new(),
            identity: None,
            error,
        }
    }

    fn report(&self, address: SocketAddr) {
        let mut fields = vec![field("remote-addr", address.to_string()), field("server-name", &self.server_name)];
        if let Some(identity) = &self.identity {
            let addresses: Vec<String> = identity.addresses.iter().map(ToString::to_string).collect();
            fields.push(field("ip-addresses", addresses));
            fields.push(field("dns-names", identity.dns_names.as_slice()));
        }
        fields.push(field("error", &self.error));
        log::warn("rejected connection on peer endpoint", &fields);
    }
}

impl PeerDoor {
    async fn secure(self, socket: TcpStream, address: SocketAddr, stop: watch::Receiver<bool>) {
        // A socket that refuses this is broken, and will say so.
        let _ = socket.set_nodelay(true);
        let Some(tls) = self.tls.clone() else {
            return self.serve(Box::new(socket), address.to_string(), stop).await;
        };
        match self.shake_hands(&tls, socket, address).await {
            Ok(stream) => self.serve(stream, address.to_string(), stop).await,
            Err(refusal) => refusal.report(address),
        }
    }

    async fn shake_hands(&self, tls: &Arc<ServerTls>, socket: TcpStream, address: SocketAddr) -> Result<Box<dyn Io>, Rejected> {
        let accepting = tokio_rustls::TlsAcceptor::from(tls.config()).accept(socket);
        let stream = match tokio::time::timeout(HANDSHAKE_LIMIT, accepting).await {
            Ok(accepted) => accepted.map_err(|error| Rejected::before(tls::reason(&error)))?,
            Err(_) => return Err(Rejected::before("i/o timeout".to_owned())),
        };
        let session = stream.get_ref().1;
        let rejected = |identity, error| Rejected {
            server_name: session.server_name().unwrap_or_default().to_owned(),
            identity,
            error,
        };
        let identity = tls
            .admit(session.peer_certificates())
            .map_err(|error| rejected(None, error.to_string()))?;
        if let Some(identity) = identity.filter(|_| self.check_holder) {
            let asked = identity.clone();
            // May ask the resolver.
            let checking = tokio::task::spawn_blocking(move || tls::check_holder(&asked, address.ip()));
            let checked = checking.await.unwrap_or_else(|error| Err(error.to_string()));
            checked.map_err(|error| rejected(Some(identity), error))?;
        }
        Ok(Box::new(stream))
    }

    async fn serve(self, stream: Box<dyn Io>, remote: String, stop: watch::Receiver<bool>) {
        let pages = Arc::new(Pages(self.pages));
        if let Err(error) = self.transport.serve(stream, remote, pages, stop).await {
            log::debug("a peer connection ended", &[field("error", error.to_string())]);
        }
    }
}

/// The pages beside `/raft`, in the transport's terms.
struct Pages(Arc<PeerPages>);

impl peer::Pages for Pages {
    fn answer(&self, request: Request<RequestBody>) -> BoxFuture<'_, Response<Bytes>> {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = match body.read_all(PAGE_REQUEST_LIMIT).await {
                Ok(body) => body,
                Err(error) => {
                    let mut refused = Response::new(Bytes::from(format!("error reading body: {error}\n")));
                    *refused.status_mut() = StatusCode::BAD_REQUEST;
                    return refused;
                }
            };
            let response = self.0.handle(Request::from_parts(head, Body::full(body))).await;
            let (head, mut body) = response.into_parts();
            let mut whole = BytesMut::new();
            while let Some(Ok(chunk)) = body.chunk().await {
                whole.extend_from_slice(&chunk);
            }
            Response::from_parts(head, whole.freeze())
        })
    }
}
