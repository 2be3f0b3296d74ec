//! The numbers that stand for operations, completions and events between Rust and JavaScript. The binary exports them;
//! `lib/codes.js` takes them from there.

// Each is exported as an object of its names and numbers.
use napi_derive::napi;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$more:meta])* $one:ident = $number:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[napi]
        #[derive(Debug, PartialEq)]
        pub enum $name { $($(#[$more])* $one = $number),+ }

        impl $name {
            /// The one of this number. Most are only written.
            #[allow(dead_code)]
            pub(crate) fn of(number: u32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$one),)+
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// What a row down asks for.
    Op {
        Acquire = 1,
        Release = 2,
        Cancel = 3,
        Close = 4,
        Status = 5,
        Clean = 6,
        ReleaseBy = 7,
        Keys = 8,
        Stats = 9,
        Beat = 10,
    }
}

codes! {
    /// What a row up says.
    Completion {
        Granted = 1,
        Failed = 2,
        Released = 3,
        Lost = 4,
        Text = 5,
        Event = 6,
        Done = 7,
        Broken = 8,
    }
}

codes! {
    /// Why a request has failed.
    Failure {
        LimitExceeded = 1,
        QueueFull = 2,
        Unavailable = 3,
        Closed = 4,
        Config = 5,
        Protocol = 6,
        Cancelled = 7,
    }
}

codes! {
    /// What happens to a connection.
    ConnectionEvent {
        Disconnected = 1,
        Reconnected = 2,
        PushUnavailable = 3,
        Warning = 4,
        Connecting = 5,
        Connected = 6,
        ConnectFailed = 7,
    }
}

codes! {
    /// What the core asks of a client transport.
    TransportOrder {
        Open = 1,
        Send = 2,
        Subscribe = 3,
        Close = 4,
    }
}

codes! {
    /// What a client transport reports.
    TransportEvent {
        Ready = 1,
        Answers = 2,
        Subscribed = 3,
        NotSubscribed = 4,
        Push = 5,
        Down = 6,
        Ended = 7,
    }
}
