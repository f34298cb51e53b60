//! Frames that Java wrote, and what Java makes of frames that are wrong.

mod support;

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{Fields, Language, RemotingCommand, Serialization, frame};
use serde_json::Value;
use support::{for_each_case, hex, same, text_or_empty, vectors};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[test]
fn frames_are_written_and_read_as_java_does() {
    let Some(file) = vectors("frames.json") else {
        return;
    };
    for_each_case(&file, "cases", |case| {
        let golden = hex(&case["frame_hex"]);
        check_decoded(&decode(&golden)?, &case["decoded"])?;

        let command = command_of(case)?;
        let mut ours = BytesMut::from(&b"before"[..]);
        command.encode(&mut ours)?;
        let ours = ours.split_off(6);
        if command.serialization == Serialization::Binary && i16::try_from(command.code).is_err() {
            // Java destroys the code here. Ours goes out as JSON, so that it arrives.
            same("header kind", ours[4], 0)?;
            let arrived = decode(&ours)?;
            same("code", arrived.code, command.code)?;
            return same("fields", arrived.fields, command.fields);
        }
        if case["byte_exact"] == true {
            same("frame", text_of(&ours), text_of(&golden))?;
        }
        check_decoded(&decode(&ours)?, &case["decoded"])?;

        let mut head = BytesMut::new();
        command.encode_head(&mut head)?;
        head.extend_from_slice(&command.body);
        same("frame from head and body", head, ours)
    });
}

#[test]
fn foreign_frames_are_read_as_java_does() {
    let Some(file) = vectors("frames.json") else {
        return;
    };
    for_each_case(&file, "decode_only", |case| {
        let decoded = decode(&hex(&case["frame_hex"]));
        match decoded {
            // Java takes bytes behind the ext fields for the start of the body and loses the end of the body.
            Err(_) if case["id"] == "d034" => Ok(()),
            Ok(command) if case["id"] != "d034" => check_decoded(&command, &case["decoded"]),
            Err(_) if case["exception"].is_string() => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    });
}

#[test]
fn wrong_frames_close_the_connection_at_the_same_place() {
    let Some(file) = vectors("negative.json") else {
        return;
    };
    for_each_case(&file, "frames", |case| {
        let mut bytes = hex(&case["hex"]);
        let commands = case["commands_decoded"].as_array().ok_or("no commands")?;
        let zeros = commands
            .first()
            .and_then(|command| command["body_hex"].as_str())
            .and_then(|text| text.strip_prefix('<')?.strip_suffix(" zero bytes>"))
            .map_or(Ok(0), str::parse)?;
        bytes.resize(bytes.len() + zeros, 0);

        let mut buffer = BytesMut::from(&bytes[..]);
        let mut decoded = Vec::new();
        let after = loop {
            match frame::split(&mut buffer, frame::MAX_FRAME_BYTES) {
                Ok(None) => break "open",
                Ok(Some(frame)) => match RemotingCommand::decode(frame) {
                    Ok(command) => decoded.push(command),
                    Err(_) => break "closed",
                },
                Err(_) => break "closed",
            }
        };
        same("connection", after, text_or_empty(&case["channel_after"]))?;
        same("number of commands", decoded.len(), commands.len())?;
        decoded
            .iter()
            .zip(commands)
            .try_for_each(|(ours, golden)| check_decoded(ours, golden))
    });
}

/// The command that a case asks to write.
fn command_of(case: &Value) -> Result<RemotingCommand, Box<dyn std::error::Error>> {
    let input = &case["input"];
    let mut fields = None;
    if let Some(header) = input["custom_header_fields"].as_object() {
        let fields = fields.get_or_insert_with(Fields::default);
        let order = fast_order(text_or_empty(&input["custom_header"]));
        let binary_fast = case["serialize"] == "ROCKETMQ" && case["encoder"] == "fastEncodeHeader";
        for name in order.split_whitespace() {
            if let Some(value) = header.get(name) {
                fields.push(name, text_or_empty(value));
            }
        }
        for (name, value) in header {
            // A fast codec knows only the fields of its list.
            let fast = binary_fast && !order.is_empty();
            if !fast && !order.split_whitespace().any(|known| known == name) {
                fields.push(name, text_or_empty(value));
            }
        }
    }
    if let Some(explicit) = input["ext_fields"].as_object() {
        let fields = fields.get_or_insert_with(Fields::default);
        for (name, value) in explicit {
            if let Some(value) = value.as_str() {
                fields.push(name, value);
            }
        }
        if explicit.values().any(Value::is_null) {
            *fields = fields_with_nulls(&input["ext_fields"])?;
        }
    }
    Ok(RemotingCommand {
        code: int(&input["code"])?,
        language: Language::from_name(text_or_empty(&input["language"])),
        version: int(&input["version"])?,
        opaque: int(&input["opaque"])?,
        flag: int(&input["flag"])?,
        remark: input["remark"].as_str().map(str::to_owned),
        fields,
        body: hex(&input["body_hex"]).into(),
        serialization: match text_or_empty(&case["serialize"]) {
            "JSON" => Serialization::Json,
            _ => Serialization::Binary,
        },
    })
}

/// Null values only come from peers.
fn fields_with_nulls(ext_fields: &Value) -> Result<Fields, Box<dyn std::error::Error>> {
    let header = format!("{{\"extFields\":{ext_fields}}}");
    let mut frame = u32::try_from(header.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(header.as_bytes());
    Ok(RemotingCommand::decode(frame.into())?
        .fields
        .unwrap_or_default())
}

fn fast_order(header: &str) -> &'static str {
    match header {
        "SendMessageRequestHeaderV2" => "a b c d e f g h i j k l m n",
        "SendMessageResponseHeader" => {
            "msgId queueId queueOffset transactionId batchUniqId recallHandle"
        }
        "PullMessageRequestHeader" => {
            "consumerGroup topic liteTopic queueId queueOffset maxMsgNums sysFlag commitOffset suspendTimeoutMillis subscription \
             subVersion expressionType maxMsgBytes requestSource proxyFrowardClientId lo ns nsd bname oway"
        }
        "PullMessageResponseHeader" => {
            "suggestWhichBrokerId nextBeginOffset minOffset maxOffset offsetDelta topicSysFlag groupSysFlag forbiddenType"
        }
        _ => "",
    }
}

fn check_decoded(command: &RemotingCommand, golden: &Value) -> Outcome {
    same("code", command.code, int(&golden["code"])?)?;
    let language = command.language.and_then(Language::name);
    same("language", language, golden["language"].as_str())?;
    same("version", command.version, int(&golden["version"])?)?;
    if golden["opaque"] == "<local counter>" {
        same("opaque", command.opaque, 0)?;
    } else {
        same("opaque", command.opaque, int(&golden["opaque"])?)?;
    }
    same("flag", command.flag, int(&golden["flag"])?)?;
    same(
        "remark",
        command.remark.as_deref(),
        golden["remark"].as_str(),
    )?;
    same("fields", fields_json(command), golden["ext_fields"].clone())?;
    let kind = match command.serialization {
        Serialization::Json => "JSON",
        _ => "ROCKETMQ",
    };
    same("kind", kind, text_or_empty(&golden["serialize_type"]))?;
    match text_or_empty(&golden["body_hex"]).strip_prefix('<') {
        Some(zeros) => {
            let zeros = zeros.trim_end_matches(" zero bytes>").parse()?;
            same("body size", command.body.len(), zeros)?;
            same("body", command.body.iter().all(|&byte| byte == 0), true)?;
        }
        None => same(
            "body",
            text_of(&command.body),
            text_or_empty(&golden["body_hex"]).to_owned(),
        )?,
    }
    same(
        "response",
        command.is_response(),
        golden["is_response"] == true,
    )?;
    same("one-way", command.is_oneway(), golden["is_oneway"] == true)
}

fn fields_json(command: &RemotingCommand) -> Value {
    let Some(fields) = &command.fields else {
        return Value::Null;
    };
    let entries = fields.iter().map(|(key, value)| {
        let key = match command.serialization {
            Serialization::Binary if key.is_empty() => "<null-key>",
            _ => key,
        };
        (key.to_owned(), value.map_or(Value::Null, Value::from))
    });
    Value::Object(entries.collect())
}

fn decode(bytes: &[u8]) -> Result<RemotingCommand, Box<dyn std::error::Error>> {
    let mut buffer = BytesMut::from(bytes);
    let frame: Bytes = frame::split(&mut buffer, frame::MAX_FRAME_BYTES)?.ok_or("incomplete")?;
    same("rest", buffer.len(), 0)?;
    Ok(RemotingCommand::decode(frame)?)
}

fn int(value: &Value) -> Result<i32, Box<dyn std::error::Error>> {
    Ok(i32::try_from(value.as_i64().ok_or("not a number")?)?)
}

fn text_of(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
