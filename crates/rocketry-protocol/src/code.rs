//! Request codes, response codes and language codes: open newtypes, so that codes this version does not know survive a round trip.

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident { $($(#[$cdoc:meta])* $constant:ident = $value:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub i32);

        impl $name {
            $($(#[$cdoc])* pub const $constant: Self = Self($value);)*

            /// Java's name of the constant; `None` for a code this version does not know.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($constant)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => write!(f, "{} {}", self.0, name),
                    None => write!(f, "{}", self.0),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// What a request asks for. Java: `RequestCode`.
    RequestCode {
        /// Send one message, long field names.
        SEND_MESSAGE = 10,
        /// Pull messages of one queue.
        PULL_MESSAGE = 11,
    }
}

codes! {
    /// How a request ended. Java: `ResponseCode`, `RemotingSysResponseCode`.
    ResponseCode {
        /// Done.
        SUCCESS = 0,
        /// Any failure without a code of its own.
        SYSTEM_ERROR = 1,
    }
}

/// The sender's programming language. Java: `LanguageCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Language(pub u8);

impl Language {
    /// `JAVA`
    pub const JAVA: Self = Self(0);
    /// `OTHER`, for brokers before 4.9.4, which do not know `RUST`.
    pub const OTHER: Self = Self(7);
    /// `RUST`
    pub const RUST: Self = Self(12);
}
