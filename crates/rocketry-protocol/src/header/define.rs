//! The table form of a header: `name: type = "wire name"`, in wire order.

use crate::{DecodeError, FieldReader, FieldWriter};

/// A type that a header field can have.
pub(super) trait HeaderValue<'a>: Sized {
    fn write(&self, key: &'static str, out: &mut FieldWriter<'_>);
    fn read(key: &'static str, fields: &FieldReader<'a>) -> Result<Self, DecodeError>;
}

/// A type whose absence can be told from its values.
pub(super) trait OptionalValue<'a>: HeaderValue<'a> {
    fn read_optional(
        key: &'static str,
        fields: &FieldReader<'a>,
    ) -> Result<Option<Self>, DecodeError>;
}

macro_rules! header_value {
    ($type:ty, |$out:ident, $key:ident, $value:ident| $write:expr, |$fields:ident| $read:expr) => {
        impl<'a> HeaderValue<'a> for $type {
            fn write(&self, $key: &'static str, $out: &mut FieldWriter<'_>) {
                let $value = self;
                $write;
            }
            fn read(key: &'static str, fields: &FieldReader<'a>) -> Result<Self, DecodeError> {
                Self::read_optional(key, fields)?.ok_or(DecodeError::MissingField { field: key })
            }
        }
        impl<'a> OptionalValue<'a> for $type {
            fn read_optional(
                $key: &'static str,
                $fields: &FieldReader<'a>,
            ) -> Result<Option<Self>, DecodeError> {
                $read
            }
        }
    };
}

header_value!(&'a str, |out, key, value| out.str(key, value), |fields| Ok(
    fields.opt_str(key)
));
header_value!(String, |out, key, value| out.str(key, value), |fields| {
    Ok(fields.opt_str(key).map(str::to_owned))
});
header_value!(i32, |out, key, value| out.i32(key, *value), |fields| fields
    .opt_i32(key));
header_value!(i64, |out, key, value| out.i64(key, *value), |fields| fields
    .opt_i64(key));
header_value!(bool, |out, key, value| out.bool(key, *value), |fields| Ok(
    fields.opt_bool(key)
));

impl<'a, T: OptionalValue<'a>> HeaderValue<'a> for Option<T> {
    fn write(&self, key: &'static str, out: &mut FieldWriter<'_>) {
        if let Some(value) = self {
            value.write(key, out);
        }
    }
    fn read(key: &'static str, fields: &FieldReader<'a>) -> Result<Self, DecodeError> {
        T::read_optional(key, fields)
    }
}

/// Defines header structs. `Option` fields may be absent; `or value` says what an absent field reads as; any other field is
/// required. A type with a lifetime borrows its text.
///
/// After the fields of a request come its code and its reply: `} PULL_MESSAGE => PullMessageReply`.
///
/// The default of a type has in each field what an absent one reads as; required fields are 0, false or empty.
macro_rules! headers {
    ($(
        $(#[$meta:meta])*
        $name:ident $(<$life:lifetime>)? {
            $($(#[$field_meta:meta])* $field:ident: $type:ty = $key:literal $(or $default:expr)?),* $(,)?
        } $($code:ident => $reply:ty)?;
    )*) => {
        #[test]
        #[allow(elided_lifetimes_in_paths, reason = "not all of the types borrow")]
        fn what_is_read_is_written() {
            crate::header::tests::check(&[$(
                crate::header::tests::Probe {
                    header: stringify!($name),
                    fields: &[$($key),*],
                    rewrite: |fields| {
                        let reader = crate::FieldReader::new(Some(fields));
                        let header = <$name as crate::ReadHeader<'_>>::read(&reader)?;
                        let mut written = crate::Fields::default();
                        crate::WriteHeader::write(&header, &mut crate::FieldWriter::new(&mut written));
                        Ok(written)
                    },
                },
            )*]);
        }

        $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name $(<$life>)? {
            $(
                $(#[$field_meta])*
                #[doc = concat!("\n\nOn the wire: `", $key, "`.")]
                pub $field: $type,
            )*
        }

        impl $(<$life>)? Default for $name $(<$life>)? {
            fn default() -> Self {
                Self { $($field: headers!(@default $($default)?)),* }
            }
        }

        impl $(<$life>)? crate::WriteHeader for $name $(<$life>)? {
            fn write(&self, out: &mut crate::FieldWriter<'_>) {
                let _ = &out;
                $(crate::header::define::HeaderValue::write(&self.$field, $key, out);)*
            }
        }

        headers!(@read $name $(<$life>)? { $($field: $type = $key $(or $default)?),* });
        headers!(@request $name $(<$life>)?; $($code $reply)?);
        )*
    };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@read $name:ident <$life:lifetime> $fields:tt) => {
        impl<$life> crate::ReadHeader<$life> for $name<$life> {
            fn read(fields: &crate::FieldReader<$life>) -> Result<Self, crate::DecodeError> {
                headers!(@fields fields $fields)
            }
        }
    };
    (@read $name:ident $fields:tt) => {
        impl<'a> crate::ReadHeader<'a> for $name {
            fn read(fields: &crate::FieldReader<'a>) -> Result<Self, crate::DecodeError> {
                headers!(@fields fields $fields)
            }
        }
    };
    (@fields $from:ident { $($field:ident: $type:ty = $key:literal $(or $default:expr)?),* }) => {{
        let _ = $from;
        Ok(Self { $($field: headers!(@value $from $key $(or $default)?)),* })
    }};
    (@value $from:ident $key:literal) => {
        crate::header::define::HeaderValue::read($key, $from)?
    };
    (@value $from:ident $key:literal or $default:expr) => {
        crate::header::define::OptionalValue::read_optional($key, $from)?.unwrap_or($default)
    };
    (@request $name:ident $(<$life:lifetime>)?;) => {};
    (@request $name:ident $(<$life:lifetime>)?; $code:ident $reply:ty) => {
        impl $(<$life>)? crate::Request for $name $(<$life>)? {
            const CODE: crate::RequestCode = crate::RequestCode::$code;
            type Reply = $reply;
        }
    };
}
