//! What a small world is made of, and the choices in it. Values only.

/// What one user does, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Acquires, and releases when it's granted.
    Use,
    /// Acquires, and doesn't want it any more.
    Cancel,
    /// Acquires for half a second at most, and releases when it's granted.
    Hurry,
    /// Three requests of one process: acquires them one after the other, and releases each when it's granted. Those
    /// that wait while it has the note, wait inside.
    Crowd,
    /// Acquires and releases twice; its slot is kept in between.
    Keep,
    /// Tries once, and releases if it's granted.
    Try,
}

impl Plan {
    /// How many requests it has.
    pub fn requests(self) -> u64 {
        match self {
            Self::Crowd => 3,
            Self::Keep => 2,
            Self::Use | Self::Cancel | Self::Hurry | Self::Try => 1,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Cut,
    LostPush,
    Crash,
}

/// A small world: its users and what goes wrong once.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    pub limit: u32,
    pub plans: &'static [Plan],
    pub fault: Option<Fault>,
    /// How many choices are free.
    pub depth: usize,
}

/// One of the things that may happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The server carries out what came first on this connection.
    Serve(usize, usize),
    /// The session hears what came first.
    Hear(usize),
    /// The user goes on with its plan.
    Act(usize),
    /// Time goes on to the next deadline.
    Wait,
    Strike(usize),
}
