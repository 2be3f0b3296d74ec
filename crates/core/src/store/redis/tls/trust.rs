//! Which certificates are accepted: those issued by a trusted one, those that are trusted themselves, or all.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::words::{Names, bad, is_own_authority};
use crate::config::{Roots, Tls};
use crate::error::Error;

/// What is accepted.
#[derive(Debug)]
pub(super) enum Trust {
    /// Certificates that this verifier accepts.
    Trusted(Trusted),
    /// All (`rejectUnauthorized: false`), of any age, version and kind of key. It isn't checked either that the other
    /// end owns its key: an attacker in between could show a certificate of their own.
    Anybody,
}

/// Takes a certificate that somebody trusted has issued, or that is itself among those that are given as trusted: a
/// server's own one is often made as an authority's, or by an authority that nobody has kept.
#[derive(Debug)]
pub(super) struct Trusted {
    /// `None` where nobody is trusted.
    by_issuer: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Trusted {
    fn new(tls: &Tls, names: &Names, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
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
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build()
            })
            .transpose()
            .map_err(|error| bad(names.ca, &error.to_string()))?;
        Ok(Self { by_issuer, pinned, algorithms: provider.signature_verification_algorithms })
    }
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Self::Trusted(Trusted { by_issuer, pinned, .. }) = self else {
            return Ok(ServerCertVerified::assertion());
        };
        let Some(by_issuer) = by_issuer else { return Err(CertificateError::UnknownIssuer.into()) };
        match by_issuer.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // Its time is checked before this is found out; its name isn't.
            Err(rustls::Error::InvalidCertificate(wrong))
                if is_unvouched_for(&wrong) && pinned.contains(end_entity) =>
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
        self.verified(|algorithms| verify_tls12_signature(message, cert, signed, algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verified(|algorithms| verify_tls13_signature(message, cert, signed, algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        match self {
            Self::Trusted(trusted) => trusted.algorithms.supported_schemes(),
            Self::Anybody => EVERY_SCHEME.to_vec(),
        }
    }
}

impl Trust {
    pub(super) fn new(tls: &Tls, names: &Names, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        match tls.reject_unauthorized {
            true => Trusted::new(tls, names, provider).map(Self::Trusted),
            false => Ok(Self::Anybody),
        }
    }

    /// What a check of a signature finds; anybody's isn't checked.
    fn verified(
        &self,
        check: impl FnOnce(&WebPkiSupportedAlgorithms) -> Result<HandshakeSignatureValid, rustls::Error>,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match self {
            Self::Trusted(trusted) => check(&trusted.algorithms),
            Self::Anybody => Ok(HandshakeSignatureValid::assertion()),
        }
    }
}

fn is_unvouched_for(wrong: &CertificateError) -> bool {
    match wrong {
        CertificateError::UnknownIssuer => true,
        CertificateError::Other(other) => is_own_authority(other),
        _ => false,
    }
}

/// What a server may sign with that anybody is taken for.
const EVERY_SCHEME: [SignatureScheme; 13] = [
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
];

/// Reads the certificates that an option gives.
pub(super) fn certificates(pem: &str, option: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.ok().filter(|read| !read.is_empty()).ok_or_else(|| bad(option, "certificates in PEM"))
}
