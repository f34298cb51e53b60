//! Enums that travel by their Java names.

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

/// An enum of Java: constants in order of their ordinals.
pub(in crate::body) trait JavaEnum: Copy + 'static {
    /// Constants with their Java names, by ordinal.
    const CONSTANTS: &'static [(Self, &'static str)];
}

/// Defines an enum with the names of its constants, their order being that of Java's ordinals.
macro_rules! java_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$cdoc:meta])* $constant:ident = $java:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$cdoc])* $constant,)*
        }
        impl $crate::body::fastjson::JavaEnum for $name {
            const CONSTANTS: &'static [(Self, &'static str)] = &[$((Self::$constant, $java)),*];
        }
        impl $name {
            /// The constant's name on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$constant => $java,)*
                }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
        impl std::str::FromStr for $name {
            type Err = $crate::DecodeError;
            /// Reads the constant's name in any letter case.
            fn from_str(name: &str) -> Result<Self, Self::Err> {
                $crate::body::fastjson::by_name(name).ok_or_else(|| $crate::DecodeError::Malformed {
                    what: stringify!($name),
                    reason: format!("{:?} is not one of its constants", name.chars().take(40).collect::<String>()),
                })
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(in crate::body) use java_enum;

/// The constant of this name, in any letter case.
pub(in crate::body) fn by_name<E: JavaEnum>(name: &str) -> Option<E> {
    E::CONSTANTS
        .iter()
        .find(|(_, java)| java.eq_ignore_ascii_case(name))
        .map(|(constant, _)| *constant)
}

/// Reads an enum by name or ordinal; what this version does not know is `None`, as it is null in Java.
pub(in crate::body) fn known<'de, D: Deserializer<'de>, E: JavaEnum>(
    deserializer: D,
) -> Result<Option<E>, D::Error> {
    struct Known<E>(std::marker::PhantomData<E>);
    impl<E: JavaEnum> Visitor<'_> for Known<E> {
        type Value = Option<E>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the name or ordinal of an enum constant")
        }
        fn visit_str<F: Error>(self, name: &str) -> Result<Self::Value, F> {
            Ok(by_name(name))
        }
        fn visit_u64<F: Error>(self, ordinal: u64) -> Result<Self::Value, F> {
            let constant = usize::try_from(ordinal)
                .ok()
                .and_then(|ordinal| E::CONSTANTS.get(ordinal));
            Ok(constant.map(|(constant, _)| *constant))
        }
        fn visit_i64<F: Error>(self, _: i64) -> Result<Self::Value, F> {
            Ok(None)
        }
        fn visit_unit<F: Error>(self) -> Result<Self::Value, F> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Known(std::marker::PhantomData))
}
