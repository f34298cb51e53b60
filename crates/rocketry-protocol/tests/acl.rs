//! Request signatures that Java made, and what Java's verifier says to them.

mod support;

use bytes::BytesMut;
use rocketry_protocol::{
    RemotingCommand, RequestCode, Serialization,
    acl::{Credentials, sign, verify},
    frame,
};
use serde_json::Value;
use support::{for_each_case, hex, same, text_or_empty, vectors};

#[test]
fn signatures_are_java_s() {
    let Some(file) = vectors("acl.json") else {
        return;
    };
    for_each_case(&file, "cases", |case| {
        let mut command = unsigned(case)?;
        let secret_key = text_or_empty(&case["secret_key"]);
        sign(
            &mut command,
            &Credentials {
                access_key: text_or_empty(&case["access_key"]).to_owned(),
                secret_key: secret_key.to_owned(),
                security_token: case["security_token"].as_str().map(str::to_owned),
            },
        );
        let fields = command.fields.as_ref().ok_or("no fields")?;
        let after = fields
            .iter()
            .map(|(key, value)| (key.to_owned(), value.map_or(Value::Null, Value::from)));
        same(
            "fields",
            Value::Object(after.collect()),
            case["ext_fields_after"].clone(),
        )?;
        same(
            "signature",
            command.field("Signature"),
            case["signature"].as_str(),
        )?;
        for (kind, accepted) in [
            (Serialization::Json, "server_accepts_json"),
            (Serialization::Binary, "server_accepts_rocketmq"),
        ] {
            command.serialization = kind;
            let arrived = transmitted(&command)?;
            same("header", arrived.serialization, kind)?;
            // Java refuses an access key that arrived as null before it looks at the signature.
            let ours = arrived.field("AccessKey").is_some() && verify(&arrived, secret_key);
            same(accepted, ours, case[accepted] == true)?;
        }
        Ok(())
    });
}

#[test]
fn the_codes_are_hmac_sha1() {
    let Some(file) = vectors("acl.json") else {
        return;
    };
    // Signing a body alone signs the access key and the body, so an empty access key leaves the body.
    for_each_case(&file, "raw_hmac", |case| {
        let mut command = RemotingCommand::bare_request(RequestCode::HEART_BEAT)
            .with_body(text_or_empty(&case["data"]).to_owned());
        sign(
            &mut command,
            &Credentials {
                access_key: String::new(),
                secret_key: text_or_empty(&case["key"]).to_owned(),
                security_token: None,
            },
        );
        same(
            "signature",
            command.field("Signature"),
            case["hmac_sha1_base64"].as_str(),
        )
    });
}

/// The command of a case, read from a JSON header because null values only come from peers.
fn unsigned(case: &Value) -> Result<RemotingCommand, Box<dyn std::error::Error>> {
    let mut fields = serde_json::Map::new();
    for part in ["custom_header_fields", "ext_fields_before"] {
        fields.extend(case[part].as_object().cloned().unwrap_or_default());
    }
    let header = serde_json::json!({
        "code": case["code"],
        "version": case["version"],
        "extFields": fields,
    })
    .to_string();
    let mut frame = u32::try_from(header.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(&hex(&case["body_hex"]));
    Ok(RemotingCommand::decode(frame.into())?)
}

fn transmitted(command: &RemotingCommand) -> Result<RemotingCommand, Box<dyn std::error::Error>> {
    let mut buffer = BytesMut::new();
    command.encode(&mut buffer)?;
    let frame = frame::split(&mut buffer, frame::MAX_FRAME_BYTES)?.ok_or("incomplete")?;
    Ok(RemotingCommand::decode(frame)?)
}
