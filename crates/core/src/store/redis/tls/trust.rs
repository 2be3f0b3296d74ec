//! Whose certificate is believed: that of whom somebody trusted vouches for, one that is itself trusted, or anybody's.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::words::{Names, bad, is_own_authority};
use crate::config::{Roots, Tls};
use crate::error::Error;

/// Takes a certificate that somebody trusted has issued, or that is itself among those that are given as trusted: a
/// server's own one is often made as an authority's, or by an authority that nobody has kept.
#[derive(Debug)]
pub(super) struct Trusted {
    /// `None` where nobody is trusted.
    by_issuer: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Trusted {
    pub(super) fn new(tls: &Tls, names: &Names, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let pinned = match (&tls.ca, &tls.roots) {
            (Some(ca), _) => certificates(ca, names.ca)?,
            (None, Roots::BuiltIn) => Vec::new(),
            (None, Roots::BuiltInAnd(pem) | Roots::Only(pem)) => {
                CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect()
            }
        };
        let mut roots = RootCertStore::empty();
        if tls.ca.is_none() && !matches!(tls.roots, Roots::Only(_)) {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        match tls.ca {
            Some(_) => pinned.iter().try_for_each(|certificate| roots.add(certificate.clone())),
            None => {
                roots.add_parsable_certificates(pinned.iter().cloned());
                Ok(())
            }
        }
        .map_err(|_| bad(names.ca, "certificates in PEM, each of which can be read"))?;
        let by_issuer = (!roots.is_empty())
            .then(|| {
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()
            })
            .transpose()
            .map_err(|error| bad(names.ca, &error.to_string()))?;
        Ok(Self { by_issuer, pinned, provider })
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
        let Some(by_issuer) = &self.by_issuer else { return Err(CertificateError::UnknownIssuer.into()) };
        let verified =
            by_issuer.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // Its time is checked before this is found out; its name isn't.
            Err(rustls::Error::InvalidCertificate(wrong))
                if is_unvouched_for(&wrong) && self.pinned.contains(end_entity) =>
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
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn is_unvouched_for(wrong: &CertificateError) -> bool {
    match wrong {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(other) => is_own_authority(other),
        _ => false,
    }
}

/// Takes any certificate (`rejectUnauthorized: false`), of any age, version and kind of key. That the other end owns
/// its key isn't checked either: whoever sits between could show one of his own.
pub(super) struct Anybody;

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
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::ED25519,
            SignatureScheme::ED448,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_SHA1_Legacy,
            SignatureScheme::RSA_PKCS1_SHA1,
        ]
    }
}

/// Reads the certificates that an option gives.
pub(super) fn certificates(pem: &str, option: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.ok().filter(|read| !read.is_empty()).ok_or_else(|| bad(option, "certificates in PEM"))
}
