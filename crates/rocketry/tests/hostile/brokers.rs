//! Hostile brokers.

use std::{io, time::Duration};

use rocketry::{ErrorKind, Message, MessageQueue, Topic};
use rocketry_protocol::{RemotingCommand, RequestCode, ResponseCode, frame::MAX_FRAME_BYTES};
use tokio::{io::AsyncWriteExt as _, time::Instant, time::sleep};

use crate::{
    memory,
    peers::{Conversation, Peers, encoded, good_broker, malformed_frames, ok},
};

/// The most that one bad connection may cost: a frame at the limit in a buffer that doubles, while the buffer before still exists.
const MEMORY: usize = 3 * MAX_FRAME_BYTES + 2 * 1024 * 1024;

/// What a broker does, from the first request on.
#[derive(Debug, Clone)]
enum Hostile {
    /// These bytes, then silence.
    Bytes(Vec<u8>),
    /// These bytes, then the end of the connection.
    BytesAndEnd(Vec<u8>),
    /// The right answer cut after so many bytes; then silence or the end.
    Truncated {
        bytes: usize,
        end: bool,
    },
    /// These bytes without end.
    Endless(Vec<u8>),
    /// A frame of the largest size that never becomes whole, then another one.
    EndlessFrame,
    /// Requests of its own without end; reads none of the answers.
    EndlessRequests,
    Silence,
    /// Does not even read.
    Deaf,
    /// The right answers, a byte each 20 ms.
    Drip,
    /// Ends its direction and goes on reading.
    HalfClosed,
    /// Ends the connection before a request.
    Gone,
    WrongOpaque,
    /// Sends every request back.
    Echo,
    /// These fields in the answer.
    Fields(&'static [(&'static str, &'static str)]),
    /// A code with a remark of this many bytes.
    Refuse(i32, usize),
}

async fn serve(mut peer: Conversation, how: Hostile) -> io::Result<()> {
    if matches!(how, Hostile::Gone) {
        return Ok(());
    }
    if matches!(how, Hostile::Deaf) {
        return std::future::pending().await;
    }
    let request = peer.request().await?;
    let right = || encoded(good_broker(&request).answering(&request));
    match how {
        Hostile::Bytes(bytes) => {
            peer.write(&bytes).await?;
            peer.silence().await
        }
        Hostile::BytesAndEnd(bytes) => peer.write(&bytes).await,
        Hostile::Truncated { bytes, end } => {
            peer.write(&right()[..bytes]).await?;
            if end { Ok(()) } else { peer.silence().await }
        }
        Hostile::Endless(bytes) => peer.endless(&bytes).await,
        Hostile::EndlessFrame => {
            peer.write(&16_777_212_i32.to_be_bytes()).await?;
            peer.endless(&[0; 16 * 1024]).await
        }
        Hostile::EndlessRequests => {
            let request = RemotingCommand::bare_request(RequestCode(12_345));
            let many = encoded(request).repeat(200);
            peer.endless(&many).await
        }
        Hostile::Drip => loop {
            for byte in right() {
                peer.write(&[byte]).await?;
                sleep(Duration::from_millis(20)).await;
            }
            peer.request().await?;
        },
        Hostile::HalfClosed => {
            peer.stream.shutdown().await?;
            peer.silence().await
        }
        Hostile::WrongOpaque => {
            let mut other = request.clone();
            other.opaque = request.opaque.wrapping_add(1000);
            peer.write(&encoded(good_broker(&request).answering(&other)))
                .await?;
            peer.silence().await
        }
        Hostile::Echo => {
            peer.write(&encoded(request)).await?;
            loop {
                let request = peer.request().await?;
                peer.write(&encoded(request)).await?;
            }
        }
        Hostile::Fields(fields) => {
            let answer = fields
                .iter()
                .fold(ok(), |answer, (name, value)| answer.with_field(name, value));
            peer.write(&encoded(answer.clone().answering(&request)))
                .await?;
            peer.answer_all(move |_| answer.clone()).await
        }
        Hostile::Refuse(code, remark_bytes) => {
            let refuse = RemotingCommand::response(ResponseCode(code))
                .with_remark("no".repeat(remark_bytes / 2));
            peer.write(&encoded(refuse.clone().answering(&request)))
                .await?;
            peer.answer_all(move |_| refuse.clone()).await
        }
        Hostile::Silence => peer.silence().await,
        Hostile::Gone | Hostile::Deaf => Ok(()),
    }
}

fn all() -> Vec<(String, Hostile)> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut noise = |bytes| -> Vec<u8> {
        std::iter::repeat_with(|| random.u8(..))
            .take(bytes)
            .collect()
    };
    let stray = encoded(ok().answering(&RemotingCommand::response(ResponseCode(0)))).repeat(100);
    let mut all = vec![
        ("noise", Hostile::Bytes(noise(1000))),
        ("noise and the end", Hostile::BytesAndEnd(noise(1000))),
        ("endless noise", Hostile::Endless(noise(32 * 1024))),
        ("endless zeros", Hostile::Endless(vec![0; 32 * 1024])),
        ("an endless frame", Hostile::EndlessFrame),
        ("endless answers to nothing", Hostile::Endless(stray)),
        ("endless requests", Hostile::EndlessRequests),
        ("silence", Hostile::Silence),
        ("deafness", Hostile::Deaf),
        ("drops", Hostile::Drip),
        ("half a connection", Hostile::HalfClosed),
        ("the end at once", Hostile::Gone),
        ("another opaque", Hostile::WrongOpaque),
        ("an echo", Hostile::Echo),
        ("no fields", Hostile::Fields(&[])),
        (
            "fields that are no numbers",
            Hostile::Fields(&[("msgId", "x"), ("queueId", "one"), ("queueOffset", "")]),
        ),
        (
            "numbers out of range",
            Hostile::Fields(&[
                ("msgId", ""),
                ("queueId", "99999999999"),
                ("queueOffset", "-1"),
            ]),
        ),
        ("an unknown code", Hostile::Refuse(-77, 0)),
        ("a remark of a megabyte", Hostile::Refuse(13, 1_000_000)),
    ]
    .into_iter()
    .map(|(name, how)| (name.to_owned(), how))
    .collect::<Vec<_>>();
    for bytes in [1, 3, 4, 7, 8, 20, 60] {
        for end in [false, true] {
            all.push((
                format!("an answer cut at {bytes}"),
                Hostile::Truncated { bytes, end },
            ));
        }
    }
    for (name, bytes) in malformed_frames() {
        all.push((format!("a frame: {name}"), Hostile::Bytes(bytes.clone())));
        all.push((
            format!("a frame and the end: {name}"),
            Hostile::BytesAndEnd(bytes),
        ));
    }
    all
}

fn queue(broker: &str) -> MessageQueue {
    MessageQueue {
        topic: Topic::new("T").unwrap(),
        broker_name: broker.into(),
        queue_id: 1,
    }
}

/// P-147: whatever one of two brokers sends: sends to any queue are stored by the other, sends to it fail in time with an error that
/// says what happened, sends to the other do not notice, and memory stays within the size of a frame.
#[tokio::test(start_paused = true)]
async fn a_hostile_broker_harms_nobody_but_those_who_insist_on_it() {
    for (name, how) in all() {
        let bad = how.clone();
        let peers = Peers::good().with("bad:1", move |peer| serve(peer, bad.clone()));
        memory::start();
        let client = peers.client("names:1").await;
        let producer = client.producer("PG").await.unwrap();

        // insisting on it
        let started = Instant::now();
        let insisted = producer.send(Message::new("T", "x")).queue(queue("bad"));
        let insisted = insisted.timeout(Duration::from_secs(2)).await;
        let took = started.elapsed();
        assert!(took <= Duration::from_millis(2005), "{name}: took {took:?}");
        match insisted {
            // drops come to a whole answer only after the deadline
            Ok(result) => panic!("{name}: stored: {result:?}"),
            Err(error) => {
                let kind = error.kind();
                let expected = [
                    ErrorKind::ConnectionLost,
                    ErrorKind::Timeout,
                    ErrorKind::Protocol,
                    ErrorKind::Refused,
                ];
                assert!(expected.contains(&kind), "{name}: {error:?}");
                assert_eq!(error.address(), Some("bad:1"), "{name}");
                // nobody wants to read more than that
                assert!(
                    error.to_string().len() < 2_000,
                    "{name}: {} bytes",
                    error.to_string().len()
                );
            }
        }

        // not knowing of it
        let good = producer.send(Message::new("T", "x")).queue(queue("good"));
        let started = Instant::now();
        good.await.unwrap();
        assert!(started.elapsed() < Duration::from_millis(5), "{name}");

        // not caring
        for n in 0..8 {
            if let Err(error) = producer.send(Message::new("T", "x")).await {
                // an answer that is final is the broker's right
                assert_eq!(
                    error.kind(),
                    ErrorKind::Refused,
                    "{name}, send {n}: {error}"
                );
            }
        }
        client.shutdown(Duration::from_secs(1)).await;
        let most = memory::most();
        assert!(most < MEMORY, "{name}: {most} bytes");
    }
}
