//! TLS to a server or a sentinel, by rustls with ring.
//!
//! Certificates are read before anything is connected: one that can't be read is a `ConfigError`, which names the
//! option and doesn't show its value. `trust` decides which certificates are accepted, `words` has the messages.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, InconsistentKeys};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::trust::{Trust, certificates};
use self::words::bad;
pub(super) use self::words::{Names, SENTINEL, SERVER, is_lasting};
use crate::config::Tls;
use crate::error::Error;

mod trust;
mod words;

/// All that is needed for TLS.
pub(super) struct Secure {
    connector: TlsConnector,
    servername: Option<ServerName<'static>>,
    words: Words,
}

/// What is to be said of an error, by the names of the options and whether we have a certificate to show.
#[derive(Clone, Copy)]
struct Words {
    names: &'static Names,
    has_cert: bool,
}

impl Words {
    fn of(self, error: io::Error) -> io::Error {
        self.names.explain(error, self.has_cert)
    }
}

impl Secure {
    /// Reads the certificates.
    pub(super) fn new(tls: &Tls, names: &'static Names) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(names.ca, &error.to_string()))?
            .dangerous();
        let builder = builder.with_custom_certificate_verifier(Arc::new(Trust::new(tls, names, &provider)?));
        let config = match (&tls.cert, &tls.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => return Err(bad(names.key, "the private key of the certificate beside it")),
            (None, Some(_)) => return Err(bad(names.cert, "the certificate of the private key beside it")),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert, names.cert)?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|_| bad(names.key, "a private key in PEM"))?;
                builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => bad(
                        names.key,
                        "the private key of the first certificate beside it, not of another one",
                    ),
                    _ => bad(names.key, "a private key for RSA from 2048 bits on, P-256, P-384 or Ed25519"),
                })?
            }
        };
        let servername = tls.servername.as_ref().map(|name| server_name(name, names)).transpose();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            servername: servername.map_err(|_| bad(names.servername, "a host name or an IP address"))?,
            words: Words { names, has_cert: tls.cert.is_some() },
        })
    }

    /// Makes the TLS handshake.
    pub(super) async fn wrap(&self, host: &str, stream: TcpStream) -> io::Result<Explained> {
        let name = match &self.servername {
            Some(name) => name.clone(),
            None => server_name(host, self.words.names).map_err(io::Error::other)?,
        };
        let connected = self.connector.connect(name, stream).await;
        let stream = connected.map_err(|error| self.words.of(error))?;
        Ok(Explained { stream, words: self.words })
    }
}

/// A stream that explains the other end's TLS alerts: in TLS 1.3 they may come after the handshake.
pub(super) struct Explained {
    stream: TlsStream<TcpStream>,
    words: Words,
}

impl AsyncRead for Explained {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let words = self.words;
        Pin::new(&mut self.stream).poll_read(context, buffer).map_err(|error| words.of(error))
    }
}

impl AsyncWrite for Explained {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

fn server_name(host: &str, names: &Names) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned()).map_err(|_| words::no_name(host, names))
}
