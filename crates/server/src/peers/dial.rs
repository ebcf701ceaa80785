//! Connections to other members: from a peer URL to a stream, plain or TLS.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use compat::url::Url;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::tls::{ClientTls, TlsError, TlsSettings, Trust};

/// A connection, whatever lies under it.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// What [`Dialler::dial`] gives.
pub type BoxStream = Box<dyn Stream>;

/// Makes connections to members.
pub struct Dialler {
    settings: TlsSettings,
    trust: Trust,
    /// Made for the first member that speaks TLS: a cluster without needs no certificates at all.
    tls: OnceLock<Result<Arc<ClientTls>, TlsError>>,
}

impl Dialler {
    pub fn new(settings: TlsSettings, trust: Trust) -> Dialler {
        Dialler {
            settings,
            trust,
            tls: OnceLock::new(),
        }
    }

    /// The TLS of all connections of this member.
    ///
    /// # Errors
    /// Why the flags' files can't be used.
    pub fn tls(&self) -> Result<Arc<ClientTls>, TlsError> {
        self.tls
            .get_or_init(|| ClientTls::new(self.settings.clone(), self.trust).map(Arc::new))
            .clone()
    }

    /// Connects to a peer URL. The name that the member's certificate has to be for is the URL's host; nothing is said about the protocol
    /// (Go's members offer HTTP/2 there and do not speak it).
    ///
    /// # Errors
    /// Of the connection or the handshake; [`crate::tls::reason`] says it in Go's words.
    pub async fn dial(&self, url: &Url) -> io::Result<BoxStream> {
        if url.is_unix() {
            let socket = UnixStream::connect(url.address()).await?;
            return self.secure(url, socket).await;
        }
        let socket = TcpStream::connect(url.address()).await?;
        socket.set_nodelay(true)?;
        self.secure(url, socket).await
    }

    /// The same, within a time.
    ///
    /// # Errors
    /// Also when the time is up.
    pub async fn dial_within(&self, url: &Url, limit: Duration) -> io::Result<BoxStream> {
        tokio::time::timeout(limit, self.dial(url))
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "i/o timeout")))
    }

    async fn secure<S: Stream + 'static>(&self, url: &Url, socket: S) -> io::Result<BoxStream> {
        if !url.is_secure() {
            return Ok(Box::new(socket));
        }
        let tls = self.tls().map_err(io::Error::other)?;
        let host = url.host_port().map_or_else(|| url.host.clone(), |(host, _)| host);
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let stream = tokio_rustls::TlsConnector::from(tls.config()).connect(name, socket).await?;
        Ok(Box::new(stream))
    }
}
