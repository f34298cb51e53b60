//! Request signatures: HMAC-SHA1 over header fields and body. Java: `AclClientRPCHook`, `AclSigner`.
//!
//! Code, opaque, flag, remark and version are not signed, and there is no time stamp: a request that was overheard can be
//! sent again. Responses are not signed at all.

use std::{cmp::Ordering, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::{Fields, RemotingCommand, Serialization};

const ACCESS_KEY: &str = "AccessKey";
const SECURITY_TOKEN: &str = "SecurityToken";
const SIGNATURE: &str = "Signature";
const UNIQUE_KEY_QUERY: &str = "_UNIQUE_KEY_QUERY";
/// Last version whose clients added [`UNIQUE_KEY_QUERY`] after signing. Java: `V4_9_3`.
const UNSIGNED_QUERY_VERSION: i32 = 399;

/// Access key and secret.
#[derive(Clone)]
pub struct Credentials {
    /// User name.
    pub access_key: String,
    /// Secret; never printed.
    pub secret_key: String,
    /// Temporary security token.
    pub security_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// Adds `AccessKey`, `SecurityToken` and `Signature` to the header fields, over earlier ones of these names.
///
/// Must be the last change before the command is encoded: what is added or changed later makes the verifier refuse the
/// request. A command with an empty field is switched to the JSON header, because the binary one turns empty texts into
/// null, which is signed as something else.
pub fn sign(command: &mut RemotingCommand, credentials: &Credentials) {
    let fields = command.fields.get_or_insert_default();
    fields.remove(SIGNATURE);
    fields.push(ACCESS_KEY, &credentials.access_key);
    if let Some(token) = &credentials.security_token {
        fields.push(SECURITY_TOKEN, token);
    }
    if fields.iter().any(|(_, value)| value == Some("")) {
        command.serialization = Serialization::Json;
    }
    let digest = SigningKey::new(&credentials.secret_key)
        .digest(fields, &command.body, |_| true)
        .finalize()
        .into_bytes();
    fields.push(SIGNATURE, &STANDARD.encode(digest));
}

/// Takes out what [`sign`] adds, before a request goes on to somebody else: a signature holds for every request with the same values
/// and body, whatever its code.
pub fn unsign(command: &mut RemotingCommand) {
    if let Some(fields) = &mut command.fields {
        for name in [ACCESS_KEY, SECURITY_TOKEN, SIGNATURE] {
            // A peer may have sent one twice.
            while fields.remove(name) {}
        }
    }
}

/// The user name a request was signed with; `None` when it was not signed.
pub fn access_key(command: &RemotingCommand) -> Option<&str> {
    command.field(ACCESS_KEY)
}

/// Whether the signature of a received command was made with `secret_key`. False when there is none. See [`SigningKey`] for
/// many commands of one user.
pub fn verify(command: &RemotingCommand, secret_key: &str) -> bool {
    SigningKey::new(secret_key).verify(command)
}

/// A secret, prepared for many signatures. Never printed.
#[derive(Clone)]
pub struct SigningKey(Hmac<Sha1>);

impl SigningKey {
    /// Prepares a secret, which may have any length.
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "HMAC takes keys of any length: the error is for other kinds of codes"
    )]
    pub fn new(secret_key: &str) -> Self {
        Self(Hmac::new_from_slice(secret_key.as_bytes()).expect("HMAC takes keys of any length"))
    }

    /// Whether the signature of a received command was made with this secret, compared in constant time. False when there is
    /// none. Reads the whole body. Java: `DefaultAuthenticationHandler.doAuthenticate`.
    pub fn verify(&self, command: &RemotingCommand) -> bool {
        let Some(fields) = &command.fields else {
            return false;
        };
        let Some(signature) = fields.get(SIGNATURE).and_then(decode) else {
            return false;
        };
        let query_is_signed = command.version > UNSIGNED_QUERY_VERSION;
        self.digest(fields, &command.body, |key| {
            key != SIGNATURE && (query_is_signed || key != UNIQUE_KEY_QUERY)
        })
        .verify_slice(&signature)
        .is_ok()
    }

    /// The code over the values in the order of their keys, without separators, and the body.
    fn digest(&self, fields: &Fields, body: &[u8], signed: impl Fn(&str) -> bool) -> Hmac<Sha1> {
        let mut entries: Vec<_> = fields.iter().filter(|(key, _)| signed(key)).collect();
        entries.sort_unstable_by(|(a, _), (b, _)| utf16_order(a, b));
        let mut mac = self.0.clone();
        for (_, value) in entries {
            // Java appends null as the text it prints for it.
            mac.update(value.unwrap_or("null").as_bytes());
        }
        mac.update(body);
        mac
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").finish_non_exhaustive()
    }
}

/// The bytes of a signature; `None` for a text of another length, however long, or that is no Base64.
fn decode(signature: &str) -> Option<[u8; DIGEST_BYTES]> {
    // One byte more than a digest: room for what the last four digits could hold.
    let mut bytes = [0; DIGEST_BYTES + 1];
    if signature.len() != SIGNATURE_CHARS {
        return None;
    }
    let count = STANDARD.decode_slice(signature, &mut bytes).ok()?;
    bytes.get(..count)?.try_into().ok()
}

/// Bytes of a SHA-1.
const DIGEST_BYTES: usize = 20;

/// Base64 digits of as many bytes.
const SIGNATURE_CHARS: usize = 28;

/// The order of Java strings, which differs from that of code points above U+FFFF.
fn utf16_order(a: &str, b: &str) -> Ordering {
    a.encode_utf16().cmp(b.encode_utf16())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestCode;

    fn credentials(access_key: &str) -> Credentials {
        Credentials {
            access_key: access_key.to_owned(),
            secret_key: "12345678".to_owned(),
            security_token: None,
        }
    }

    #[test]
    fn signs_like_java_and_verifies() {
        let mut command = RemotingCommand::bare_request(RequestCode::GET_ROUTEINFO_BY_TOPIC)
            .with_field("topic", "TopicTest")
            .with_field("acceptStandardJsonOnly", "true");
        sign(&mut command, &credentials("rocketmq2"));
        assert_eq!(
            command.field("Signature"),
            Some("EvCVn1/pIhQGNcZnAZsj264sC2k=")
        );
        assert_eq!(access_key(&command), Some("rocketmq2"));
        assert!(verify(&command, "12345678"));
        assert!(!verify(&command, "12345679"));
        // Signing again replaces the fields of the first time.
        sign(&mut command, &credentials("rocketmq2"));
        assert_eq!(
            command.field("Signature"),
            Some("EvCVn1/pIhQGNcZnAZsj264sC2k=")
        );
        let tampered = command.with_field("topic", "Other");
        assert!(!verify(&tampered, "12345678"));
    }

    #[test]
    fn unsigned_commands_are_refused() {
        let mut command = RemotingCommand::bare_request(RequestCode::HEART_BEAT);
        assert!(!verify(&command, ""));
        for signature in [
            "not base64!".to_owned(),
            "A".repeat(28),
            "A".repeat(1 << 20),
        ] {
            command = command.with_field("Signature", &signature);
            assert!(!verify(&command, ""));
        }
    }

    #[test]
    fn empty_values_travel_as_json() {
        let mut command = RemotingCommand::bare_request(RequestCode::SEND_MESSAGE_V2);
        command.serialization = Serialization::Binary;
        sign(&mut command, &credentials("ak"));
        assert_eq!(command.serialization, Serialization::Binary);
        command = command.with_field("i", "");
        sign(&mut command, &credentials("ak"));
        assert_eq!(command.serialization, Serialization::Json);
    }

    #[test]
    fn secrets_are_not_printed() {
        let printed = format!("{:?} {:?}", credentials("ak"), SigningKey::new("12345678"));
        assert!(
            printed.contains("ak") && !printed.contains("12345678"),
            "{printed}"
        );
    }
}
