//! The messages for TLS errors, which name the option that helps; the library's own texts aren't shown.

use std::io;

use rustls::{AlertDescription, CertificateError, OtherError, PeerIncompatible};

use crate::error::Error;

/// What the members of a TLS option are called in errors.
pub(in crate::store::redis) struct Names {
    pub(super) ca: &'static str,
    pub(super) cert: &'static str,
    pub(super) key: &'static str,
    pub(super) servername: &'static str,
    reject: &'static str,
    on: &'static str,
}

/// The option `tls`.
pub(in crate::store::redis) const SERVER: Names = Names {
    ca: "tls.ca",
    cert: "tls.cert",
    key: "tls.key",
    servername: "tls.servername",
    reject: "tls.rejectUnauthorized",
    on: "tls",
};

/// The option `sentinel.tls`.
pub(in crate::store::redis) const SENTINEL: Names = Names {
    ca: "sentinel.tls.ca",
    cert: "sentinel.tls.cert",
    key: "sentinel.tls.key",
    servername: "sentinel.tls.servername",
    reject: "sentinel.tls.rejectUnauthorized",
    on: "sentinel.tls",
};

const CERTIFICATE: &str = "invalid peer certificate: ";
const REFUSED: &str = "the server refused TLS with us: ";
const NO_TLS: &str = "what answers there doesn't speak TLS as it should; ";
const NO_NAME: &str = " is no name that a certificate could carry";

/// Whether an error is one of those below, which would come again.
pub(in crate::store::redis) fn is_lasting(text: &str) -> bool {
    [CERTIFICATE, REFUSED, NO_TLS, NO_NAME].iter().any(|sign| text.contains(sign))
}

/// A certificate that may issue others is shown as a server's own.
pub(super) fn is_own_authority(error: &OtherError) -> bool {
    error.to_string().contains("CaUsedAsEndEntity")
}

/// No certificate can be checked against this host.
pub(super) fn no_name(host: &str, names: &Names) -> String {
    format!("{host:?}{NO_NAME}: give one as {}", names.servername)
}

/// A name without how the library prints it: `DnsName("a.test")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"')
}

impl Names {
    /// The same error in words. `has_cert` says whether we have a certificate to show.
    pub(super) fn explain(&self, error: io::Error, has_cert: bool) -> io::Error {
        let kind = error.kind();
        let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return error;
        };
        let text = match inner {
            rustls::Error::InvalidCertificate(wrong) => {
                format!("{CERTIFICATE}{}", self.about_certificate(wrong))
            }
            rustls::Error::AlertReceived(alert) => format!("{REFUSED}{}", self.about_alert(*alert, has_cert)),
            rustls::Error::NoCertificatesPresented => format!("{CERTIFICATE}it showed none"),
            rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
                format!("{REFUSED}it speaks neither TLS 1.2 nor 1.3")
            }
            rustls::Error::PeerIncompatible(_) => format!("{REFUSED}it offers nothing that we speak as well"),
            _ => format!("{NO_TLS}if it speaks none, write redis: or {}: false", self.on),
        };
        io::Error::new(kind, text)
    }

    fn about_certificate(&self, wrong: &CertificateError) -> String {
        let days = |seconds: u64| match seconds / 86_400 {
            0 => "less than a day".to_owned(),
            1 => "a day".to_owned(),
            days => format!("{days} days"),
        };
        match wrong {
            CertificateError::UnknownIssuer => {
                format!("nobody who is trusted has issued it; give its authority, or itself, as {}", self.ca)
            }
            CertificateError::Other(other) if is_own_authority(other) => {
                format!("it was issued by itself and isn't trusted; give it as {}", self.ca)
            }
            CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
                format!(
                    "it was made for no name at all (subjectAltName), so not for {}; the server needs another one",
                    expected.to_str()
                )
            }
            CertificateError::NotValidForNameContext { expected, presented } => format!(
                "it isn't valid for {}, but for {}; say the name that it has as {}",
                expected.to_str(),
                presented.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
                self.servername
            ),
            CertificateError::NotValidForName => {
                format!("it isn't valid for this name; say the one that it has as {}", self.servername)
            }
            CertificateError::ExpiredContext { time, not_after } => {
                let ago = days(time.as_secs().saturating_sub(not_after.as_secs()));
                format!("it expired {ago} ago; the server needs a new one")
            }
            CertificateError::Expired => "it has expired; the server needs a new one".to_owned(),
            CertificateError::NotValidYetContext { time, not_before } => {
                let left = days(not_before.as_secs().saturating_sub(time.as_secs()));
                format!("it isn't valid yet, but in {left}; look at the clock of this machine")
            }
            CertificateError::NotValidYet => {
                "it isn't valid yet; look at the clock of this machine".to_owned()
            }
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                "it wasn't made for servers (extendedKeyUsage); the server needs another one".to_owned()
            }
            CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
                format!(
                    "it is one of X.509's version 1, which can't be checked; the server needs one of version 3, or {} false",
                    self.reject
                )
            }
            _ => format!(
                "it is damaged, or made in a way that can't be checked; the server needs another one, or {} false",
                self.reject
            ),
        }
    }

    fn about_alert(&self, alert: AlertDescription, has_cert: bool) -> String {
        use AlertDescription as Alert;
        let (cert, key) = (self.cert, self.key);
        match alert {
            Alert::CertificateRequired | Alert::BadCertificate | Alert::CertificateUnknown if !has_cert => {
                format!("it wants a certificate of ours; give {cert} and {key}")
            }
            Alert::HandshakeFailure if !has_cert => format!(
                "it wants a certificate of ours, so give {cert} and {key}; or it offers nothing that we speak as well"
            ),
            Alert::UnknownCA => {
                format!("it doesn't know who has issued our certificate; give another {cert}")
            }
            Alert::CertificateExpired => format!("our certificate has expired; give another {cert}"),
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateUnknown
            | Alert::AccessDenied => format!("it doesn't take our certificate; give another {cert}"),
            Alert::UnrecognisedName => format!("it has no such name; give its own as {}", self.servername),
            Alert::ProtocolVersion => "it speaks neither TLS 1.2 nor 1.3".to_owned(),
            Alert::HandshakeFailure | Alert::InsufficientSecurity => {
                "it offers nothing that we speak as well".to_owned()
            }
            other => format!("it ended the greeting with alert {}", u8::from(other)),
        }
    }
}

/// A member that can't be used; what it is isn't shown.
pub(super) fn bad(option: &'static str, expected: &str) -> Error {
    Error::Config { option, given: "what can't be used".into(), expected: expected.into() }
}
