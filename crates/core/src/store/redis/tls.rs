//! TLS to a server or a sentinel, by rustls with ring; the roots are Mozilla's unless a CA is given.
//!
//! Certificates are read here, before anything is connected: what can't be read is a `ConfigError` that names the
//! member and shows nothing of it. What is wrong with a server's certificate is said in words that name the option that
//! helps.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::Tls;
use crate::error::Error;

/// What the members of a TLS option are called in errors.
pub(super) struct Names {
    ca: &'static str,
    cert: &'static str,
    key: &'static str,
    servername: &'static str,
}

/// The option `tls`.
pub(super) const SERVER: Names =
    Names { ca: "tls.ca", cert: "tls.cert", key: "tls.key", servername: "tls.servername" };

/// The option `sentinel.tls`.
pub(super) const SENTINEL: Names = Names {
    ca: "sentinel.tls.ca",
    cert: "sentinel.tls.cert",
    key: "sentinel.tls.key",
    servername: "sentinel.tls.servername",
};

/// Everything that is needed to speak TLS.
pub(super) struct Secure {
    connector: TlsConnector,
    servername: Option<ServerName<'static>>,
    names: &'static Names,
}

impl Secure {
    /// Reads the certificates.
    pub(super) fn new(tls: &Tls, names: &'static Names) -> Result<Self, Error> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(names.ca, &error.to_string()))?;
        let builder = if tls.reject_unauthorized {
            let verifier = Trusted::new(tls, names, provider)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        };
        let config = match (&tls.cert, &tls.key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => return Err(bad(names.key, "the private key of the certificate beside it")),
            (None, Some(_)) => return Err(bad(names.cert, "the certificate of the private key beside it")),
            (Some(cert), Some(key)) => {
                let chain = certificates(cert, names.cert)?;
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
                    .map_err(|_| bad(names.key, "an unencrypted private key in PEM"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| bad(names.key, &error.to_string()))?
            }
        };
        let servername = tls.servername.as_ref().map(|name| server_name(name)).transpose();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            servername: servername.map_err(|_| bad(names.servername, "a host name or an IP address"))?,
            names,
        })
    }

    /// Greets the other end.
    pub(super) async fn wrap(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.servername {
            Some(name) => name.clone(),
            None => server_name(host).map_err(io::Error::other)?,
        };
        self.connector.connect(name, stream).await.map_err(|error| self.names.explain(error))
    }
}

impl Names {
    /// What is wrong with the server's certificate, and which option helps.
    fn explain(&self, error: io::Error) -> io::Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        let Some(rustls::Error::InvalidCertificate(wrong)) = inner else { return error };
        let what = match wrong {
            CertificateError::UnknownIssuer => {
                format!("nobody who is trusted has issued it; give its authority, or itself, as {}", self.ca)
            }
            CertificateError::Other(other) if is_own_authority(other) => {
                format!("it was issued by itself and isn't trusted; give it as {}", self.ca)
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("{wrong}; say the name that it has as {}", self.servername)
            }
            CertificateError::Other(other) => format!("it can't be checked: {other}"),
            _ => wrong.to_string(),
        };
        io::Error::new(error.kind(), format!("invalid peer certificate: {what}"))
    }
}

/// A certificate that may issue others is shown as a server's own.
fn is_own_authority(error: &rustls::OtherError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{host:?} is no name that a certificate could carry: set tls.servername"))
}

fn roots(tls: &Tls, names: &Names) -> Result<RootCertStore, Error> {
    let Some(ca) = &tls.ca else {
        return Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() });
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca, names.ca)? {
        roots.add(certificate).map_err(|error| bad(names.ca, &error.to_string()))?;
    }
    Ok(roots)
}

fn certificates(pem: &str, option: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.ok().filter(|read| !read.is_empty()).ok_or_else(|| bad(option, "certificates in PEM"))
}

fn bad(option: &'static str, expected: &str) -> Error {
    Error::Config { option, given: "what can't be used".into(), expected: expected.into() }
}

/// Takes a certificate that somebody trusted has issued, or that is itself among those that are given as trusted: a
/// server's own one is often made as an authority's.
#[derive(Debug)]
struct Trusted {
    by_issuer: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn new(tls: &Tls, names: &Names, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let pinned = tls.ca.as_ref().map(|ca| certificates(ca, names.ca)).transpose()?.unwrap_or_default();
        let by_issuer =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots(tls, names)?), provider).build();
        Ok(Self { by_issuer: by_issuer.map_err(|error| bad(names.ca, &error.to_string()))?, pinned })
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified =
            self.by_issuer.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // Its time is checked before this is found out; its name isn't.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other)))
                if is_own_authority(&other) && self.pinned.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_issuer.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_issuer.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_issuer.supported_verify_schemes()
    }
}

/// Takes any certificate (`rejectUnauthorized: false`); the other end must still own the key of the one it shows.
struct Anybody(Arc<CryptoProvider>);

impl fmt::Debug for Anybody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Anybody")
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
