//! How a server runs the library: as functions, as a script that it knows by its hash, or as one that is sent with each
//! call. The same text each time; the first that a server allows is taken.

/// How a server runs the library. The lower ones cost it more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// `EVAL`: the text goes along each time.
    Text,
    /// `EVALSHA`: its functions are made anew in each call.
    Script,
    /// `FCALL`, since Redis 7.0 and in Valkey.
    Function,
}

impl Way {
    /// As ACL errors write it.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Function => "'fcall'",
            Self::Script => "'evalsha'",
            Self::Text => "'eval'",
        }
    }

    /// The next that may be allowed where this one isn't.
    pub(super) fn below(self) -> Self {
        match self {
            Self::Function => Self::Script,
            Self::Script | Self::Text => Self::Text,
        }
    }
}
