//! What foreign consumers wrote of their deliveries.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Result;

/// One delivery to a consumer.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) arrival_ms: i64,
    pub(super) queue_id: i32,
    pub(super) queue_offset: i64,
    pub(super) reconsumed: i32,
    /// When its producer made it; 0 where the consumer does not say.
    pub(super) born_ms: i64,
    pub(super) key: String,
    pub(super) body: String,
}

/// The deliveries in `file`, as `interop/java/Live.java` writes them. A last line that is cut by a kill is left out.
pub(super) fn of_java(file: &Path) -> Result<Vec<Delivery>> {
    lines(file, |fields| {
        let [
            arrival,
            _broker,
            queue,
            offset,
            again,
            born,
            _id,
            _tags,
            keys,
            body,
        ] = *fields
        else {
            return None;
        };
        Some(Delivery {
            arrival_ms: arrival.parse().ok()?,
            queue_id: queue.parse().ok()?,
            queue_offset: offset.parse().ok()?,
            reconsumed: again.parse().ok()?,
            born_ms: born.parse().ok()?,
            key: keys.to_owned(),
            body: String::from_utf8(STANDARD.decode(body).ok()?).ok()?,
        })
    })
}

/// As `interop/go/consume.go` writes them.
pub(super) fn of_go(file: &Path) -> Result<Vec<Delivery>> {
    lines(file, |fields| {
        let [arrival, _broker, queue, offset, again, _id, body] = *fields else {
            return None;
        };
        Some(Delivery {
            arrival_ms: arrival.parse().ok()?,
            queue_id: queue.parse().ok()?,
            queue_offset: offset.parse().ok()?,
            reconsumed: again.parse().ok()?,
            born_ms: 0,
            key: String::new(),
            body: body.to_owned(),
        })
    })
}

fn lines(file: &Path, parse: impl Fn(&[&str]) -> Option<Delivery>) -> Result<Vec<Delivery>> {
    let Ok(bytes) = std::fs::read(file) else {
        return Ok(Vec::new());
    };
    let text = String::from_utf8_lossy(&bytes);
    let mut deliveries = Vec::new();
    for line in text.split_inclusive('\n') {
        let Some(line) = line.strip_suffix('\n') else {
            break;
        };
        let fields: Vec<_> = line.split('\t').collect();
        deliveries.push(
            parse(&fields)
                .ok_or_else(|| format!("{}: not a delivery: `{line}`", file.display()))?,
        );
    }
    Ok(deliveries)
}

/// Fails unless each of `prefix-0` to `prefix-(count-1)` was delivered, to whomever.
pub(super) fn complete(what: &str, deliveries: &[Delivery], prefix: &str, count: usize) -> Result {
    let missing: Vec<_> = (0..count)
        .map(|n| format!("{prefix}-{n}"))
        .filter(|body| !deliveries.iter().any(|delivery| delivery.body == *body))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let some: Vec<_> = missing.iter().take(5).collect();
    Err(format!(
        "{what}: {} of {count} messages of {prefix} were not delivered, {some:?}",
        missing.len()
    )
    .into())
}

/// Fails unless, for each key, what one consumer was given is in the order in which it was stored, each message once.
pub(super) fn in_order(what: &str, deliveries: &[Delivery]) -> Result {
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for delivery in deliveries {
        if let Some(before) = last.insert(&delivery.key, delivery.queue_offset)
            && delivery.queue_offset <= before
        {
            return Err(format!(
                "{what}: after offset {before} of {} comes {delivery:?}",
                delivery.key
            )
            .into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(key: &str, queue_offset: i64, body: &str) -> Delivery {
        Delivery {
            arrival_ms: 0,
            queue_id: 0,
            queue_offset,
            reconsumed: 0,
            born_ms: 0,
            key: key.to_owned(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn a_message_too_few_and_a_wrong_order_are_told() {
        let taken = [
            delivery("a", 1, "x-0"),
            delivery("b", 0, "x-1"),
            delivery("a", 2, "x-0"),
        ];
        complete("c", &taken, "x", 2).unwrap();
        complete("c", &taken, "x", 3).unwrap_err();
        in_order("c", &taken).unwrap();
        in_order("c", &[delivery("a", 2, ""), delivery("a", 1, "")]).unwrap_err();
    }
}
