//! The broker's second port, two below the first, which serves sends beside the traffic of consumers.

use std::sync::Arc;

/// The address of the second port; an address that has none stays as it is. Java: `MixAll.brokerVIPChannel`.
pub(crate) fn address(broker: Arc<str>) -> Arc<str> {
    let second = broker.rsplit_once(':').and_then(|(host, port)| {
        let port = port.parse::<u16>().ok()?.checked_sub(2)?;
        (port > 0).then(|| format!("{host}:{port}").into())
    });
    second.unwrap_or(broker)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_second_port_is_two_below() {
        for (broker, expected) in [
            ("10.0.0.1:10911", "10.0.0.1:10909"),
            ("[2001:db8::1]:10911", "[2001:db8::1]:10909"),
            ("host:3", "host:1"),
            ("host:2", "host:2"),
            ("host", "host"),
        ] {
            assert_eq!(&*super::address(broker.into()), expected);
        }
    }
}
