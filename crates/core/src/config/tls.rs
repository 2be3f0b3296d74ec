//! What is asked of TLS: whom to trust, who we are, which name the certificate must carry.
//!
//! Reads no certificate: whoever connects does, before anything is sent. The text form shows no certificate and no key.

use std::fmt;

/// Settings of TLS. The default trusts Mozilla's roots and shows no certificate of ours.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Certificates in PEM that are trusted instead of all others.
    pub ca: Option<String>,
    /// What is trusted without `ca`.
    pub roots: Roots,
    /// Our certificate in PEM, its chain after it.
    pub cert: Option<String>,
    /// Our private key in PEM.
    pub key: Option<String>,
    /// The name that the server's certificate must carry, if it isn't the host's.
    pub servername: Option<String>,
    /// Whether a certificate that can't be verified ends the connection.
    pub reject_unauthorized: bool,
}

/// What is trusted where no certificate is given for it. What can't be read in these texts is passed over: it's the
/// process's, not this option's.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Roots {
    /// Mozilla's.
    BuiltIn,
    /// Mozilla's, and these in PEM.
    BuiltInAnd(String),
    /// These in PEM.
    Only(String),
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            ca: None,
            roots: Roots::BuiltIn,
            cert: None,
            key: None,
            servername: None,
            reject_unauthorized: true,
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_ca", &self.ca.is_some())
            .field("own_cert", &self.cert.is_some())
            .field("servername", &self.servername)
            .field("reject_unauthorized", &self.reject_unauthorized)
            .finish_non_exhaustive()
    }
}
