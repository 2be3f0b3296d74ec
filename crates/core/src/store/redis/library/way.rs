//! How a server runs the library: as functions, as a script by its hash, or as a script that is sent with each call.
//! The text is always the same; the first way that a server allows is used.

/// How a server runs the library. The first ones cost the server more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// `EVAL`: the text is sent with each call.
    Text,
    /// `EVALSHA`: its functions are made anew in each call.
    Script,
    /// `FCALL`, since Redis 7.0 and in Valkey.
    Function,
}

impl Way {
    /// Its name in ACL errors.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Function => "'fcall'",
            Self::Script => "'evalsha'",
            Self::Text => "'eval'",
        }
    }

    /// The next way to try when this one isn't allowed.
    pub(super) fn below(self) -> Self {
        match self {
            Self::Function => Self::Script,
            Self::Script | Self::Text => Self::Text,
        }
    }
}
