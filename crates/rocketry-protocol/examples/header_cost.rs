//! Does one step of a send's codec again and again, for a tool that counts instructions:
//!
//! ```sh
//! cargo build --release -p rocketry-protocol --example header_cost
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null target/release/examples/header_cost decode-reply 2000
//! ```
//!
//! The cost of one is the difference between 2,000 and 1,000 of them, divided by 1,000.

use std::{env, hint::black_box, process::ExitCode};

use bytes::{Bytes, BytesMut};
use rocketry_protocol::{
    RemotingCommand, ResponseCode, frame,
    header::{SendMessageReply, SendMessageRequest},
};

const STEPS: &str = "make-request, encode-request, decode-request, read-request, make-reply, encode-reply, decode-reply, read-reply";

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    let step = args.next().unwrap_or_default();
    let times = args
        .next()
        .and_then(|times| times.parse().ok())
        .unwrap_or(1000);
    let mut out = BytesMut::with_capacity(4096);
    let (request, reply) = (make_request(), make_reply());
    let (request_frame, reply_frame) = (frame_of(&request), frame_of(&reply));
    for _ in 0..times {
        out.clear();
        let done = match &*step {
            "make-request" => keep(make_request()),
            "make-reply" => keep(make_reply()),
            "encode-request" => keep(request.encode_head(&mut out)),
            "encode-reply" => keep(reply.encode_head(&mut out)),
            "decode-request" => keep(RemotingCommand::decode(request_frame.clone())),
            "decode-reply" => keep(RemotingCommand::decode(reply_frame.clone())),
            "read-request" => keep(request.header::<SendMessageRequest<'_>>()),
            "read-reply" => keep(reply.header::<SendMessageReply>()),
            _ => false,
        };
        if !done {
            eprintln!("no step {step:?}; there are {STEPS}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn keep<T>(value: T) -> bool {
    black_box(value);
    true
}

fn make_request() -> RemotingCommand {
    let mut command = RemotingCommand::request(&SendMessageRequest {
        producer_group: "rocketry-bench",
        topic: "BenchTopic",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 2,
        sys_flag: 0,
        born_timestamp: 1_795_000_000_123,
        flag: 0,
        properties: "UNIQ_KEY\u{1}0A0000011234000000070001D4C00007\u{2}WAIT\u{1}true\u{2}TAGS\u{1}TagA\u{2}",
        reconsume_times: 0,
        unit_mode: false,
        max_reconsume_times: None,
        batch: false,
        broker_name: Some("broker-a"),
    });
    command.opaque = 123_456;
    command
}

fn make_reply() -> RemotingCommand {
    let msg_id = "7F00000100002A9F0000000000001234".to_owned();
    let mut header = SendMessageReply::new(msg_id, 3, 123_456);
    header.transaction_id = Some("0A0000011234000000070001D4C00007".into());
    let mut command = RemotingCommand::response(ResponseCode::SUCCESS).with_header(&header);
    command.opaque = 123_456;
    command
}

/// As a connection hands it to the decoder.
fn frame_of(command: &RemotingCommand) -> Bytes {
    let mut out = BytesMut::new();
    let encoded = command.encode(&mut out);
    let split = encoded
        .is_ok()
        .then(|| frame::split(&mut out, frame::MAX_FRAME_BYTES));
    split.and_then(Result::ok).flatten().unwrap_or_default()
}
