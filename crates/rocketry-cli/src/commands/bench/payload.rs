//! Bodies of a measurement: made of random bytes, or of words.

use bytes::Bytes;

use crate::args::Payload;

/// A body of `bytes` bytes. The same every time, so that two runs send the same.
pub(super) fn body(kind: Payload, bytes: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(9876);
    let mut body = vec![0; bytes];
    match kind {
        Payload::Random => random.fill(&mut body),
        Payload::Text => {
            body.clear();
            while body.len() < bytes {
                body.extend_from_slice(random.choice(WORDS).unwrap_or("").as_bytes());
                body.push(b' ');
            }
            body.truncate(bytes);
        }
    }
    body.into()
}

const WORDS: [&str; 16] = [
    "order",
    "created",
    "payment",
    "customer",
    "amount",
    "currency",
    "shipped",
    "address",
    "status",
    "pending",
    "item",
    "quantity",
    "price",
    "total",
    "region",
    "timestamp",
];

#[cfg(test)]
mod tests {
    use rocketry_protocol::compress::Compression;

    use super::*;

    #[test]
    fn random_bodies_do_not_compress_and_texts_do() {
        let random = body(Payload::Random, 4096);
        let text = body(Payload::Text, 4096);
        assert_eq!((random.len(), text.len()), (4096, 4096));
        assert!(Compression::Zlib.compress(&random, 5).unwrap().len() >= 4096);
        assert!(Compression::Zlib.compress(&text, 5).unwrap().len() < 4096 / 2);
        assert_eq!(body(Payload::Random, 5), body(Payload::Random, 5));
        assert_eq!(body(Payload::Text, 1).len(), 1);
    }
}
