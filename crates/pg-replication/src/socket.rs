//! The connection: TCP or a Unix socket, plain or encrypted.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use ring::digest;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::config::{Config, Encryption, Host};
use crate::error::{Error, ErrorKind, Result};

/// A connection.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Socket {
    /// Connects, and encrypts as the configuration says.
    pub(crate) async fn connect(config: &Config) -> Result<Self> {
        let unreachable = |error: io::Error| {
            Error::new(ErrorKind::Connection, format!("{} cannot be reached", config.host)).caused_by(error)
        };
        let (host, port) = match &config.host {
            Host::Tcp(host, port) => (host, *port),
            #[cfg(unix)]
            Host::Unix(path) => return UnixStream::connect(path).await.map(Self::Unix).map_err(unreachable),
            #[cfg(not(unix))]
            Host::Unix(_) => {
                return Err(Error::new(ErrorKind::Connection, "there are no Unix sockets on this system"));
            }
        };
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let keepalive = socket2::TcpKeepalive::new().with_time(std::time::Duration::from_secs(60));
        socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive).map_err(unreachable)?;
        match &config.encryption {
            Encryption::Off => Ok(Self::Tcp(tcp)),
            Encryption::Offered(client) => Self::encrypt(config, tcp, client, false).await,
            Encryption::Required(client) => Self::encrypt(config, tcp, client, true).await,
        }
    }

    async fn encrypt(
        config: &Config,
        mut tcp: TcpStream,
        client: &std::sync::Arc<rustls::ClientConfig>,
        required: bool,
    ) -> Result<Self> {
        let mut request = bytes::BytesMut::new();
        postgres_protocol::message::frontend::ssl_request(&mut request);
        tcp.write_all(&request).await.map_err(Error::broken)?;
        // One byte and no more: what came before the handshake would pass for what came after it.
        match tcp.read_u8().await.map_err(Error::broken)? {
            b'S' => {}
            _ if required => {
                return Err(Error::new(
                    ErrorKind::Tls,
                    format!("{} does not encrypt connections", config.host),
                ));
            }
            _ => return Ok(Self::Tcp(tcp)),
        }
        let name = config
            .server_name()
            .ok_or_else(|| Error::new(ErrorKind::Tls, format!("{} is no name of a server", config.host)))?;
        let connector = TlsConnector::from(std::sync::Arc::clone(client));
        let tls = connector.connect(name, tcp).await.map_err(|error| {
            Error::new(ErrorKind::Tls, format!("TLS with {} failed", config.host)).caused_by(error)
        })?;
        Ok(Self::Tls(Box::new(tls)))
    }

    /// Whether others can read what is sent.
    pub(crate) fn is_private(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }

    /// What ties a login to this very connection: `tls-server-end-point` of RFC 5929.
    pub(crate) fn end_point(&self) -> Option<Vec<u8>> {
        let Self::Tls(tls) = self else { return None };
        tls.get_ref().1.peer_certificates()?.first().and_then(end_point)
    }
}

/// The certificate's hash, by the hash of its signature; by SHA-256 where that is weaker.
fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm.oid.to_string().as_str() {
        // With RSA and ECDSA: MD5 and SHA-1, which are raised, and SHA-256.
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.5" | "1.2.840.10045.4.1" => &digest::SHA256,
        "1.2.840.113549.1.1.11" | "1.2.840.10045.4.3.2" => &digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &digest::SHA512,
        // Ed25519 and RSA-PSS name no hash that both sides would agree on.
        _ => return None,
    };
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(unix)]
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
