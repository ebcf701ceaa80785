//! Bytes to a server: plain sockets here, TLS behind the feature `tls`, anything else through the [`Connector`] trait.

use std::io;

use http2::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Endpoint, Target};

/// A connection's bytes.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// Opens connections.
pub trait Connector: Send + Sync + 'static {
    /// Connects; ready for HTTP/2.
    fn connect(&self, endpoint: &Endpoint) -> BoxFuture<io::Result<Box<dyn Io>>>;
}

/// Sockets without TLS.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainConnector;

impl Connector for PlainConnector {
    fn connect(&self, endpoint: &Endpoint) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let endpoint = endpoint.clone();
        Box::pin(async move {
            if endpoint.is_tls {
                return Err(io::Error::new(io::ErrorKind::Unsupported, format!("{endpoint} needs TLS")));
            }
            open(&endpoint.target).await
        })
    }
}

async fn open(target: &Target) -> io::Result<Box<dyn Io>> {
    match target {
        Target::Tcp { host, port } => {
            let socket = tokio::net::TcpStream::connect((host.as_str(), *port)).await?;
            // Requests are written whole; waiting for more to send only delays them.
            socket.set_nodelay(true)?;
            Ok(Box::new(socket))
        }
        Target::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
    }
}

/// Sockets, with TLS for `https` and `unixs` endpoints.
#[cfg(feature = "tls")]
pub struct TlsConnector {
    tls: tokio_rustls::TlsConnector,
    server_name: Option<tokio_rustls::rustls::pki_types::ServerName<'static>>,
}

#[cfg(feature = "tls")]
impl TlsConnector {
    /// `server_name` overrides the endpoint's host in the certificate's check. `h2` is added to the protocols offered.
    pub fn new(
        mut config: tokio_rustls::rustls::ClientConfig,
        server_name: Option<tokio_rustls::rustls::pki_types::ServerName<'static>>,
    ) -> TlsConnector {
        config.alpn_protocols = vec![b"h2".to_vec()];
        TlsConnector {
            tls: std::sync::Arc::new(config).into(),
            server_name,
        }
    }
}

#[cfg(feature = "tls")]
impl Connector for TlsConnector {
    fn connect(&self, endpoint: &Endpoint) -> BoxFuture<io::Result<Box<dyn Io>>> {
        use tokio_rustls::rustls::pki_types::ServerName;
        let (endpoint, tls, server_name) = (endpoint.clone(), self.tls.clone(), self.server_name.clone());
        Box::pin(async move {
            let io = open(&endpoint.target).await?;
            if !endpoint.is_tls {
                return Ok(io);
            }
            let name = match (server_name, &endpoint.target) {
                (Some(name), _) => name,
                (None, Target::Tcp { host, .. }) => ServerName::try_from(host.clone()).map_err(io::Error::other)?,
                (None, Target::Unix(_)) => ServerName::try_from("localhost").map_err(io::Error::other)?,
            };
            let stream: Box<dyn Io> = Box::new(tls.connect(name, io).await?);
            Ok(stream)
        })
    }
}
