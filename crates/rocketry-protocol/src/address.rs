//! Addresses of brokers.

/// The address of a broker's second listener, two ports below the first: traffic that should not wait behind other requests goes
/// there. `None` when there is no port of at least 2. Java: `MixAll.brokerVIPChannel`.
pub fn vip_channel(addr: &str) -> Option<String> {
    let (host, port) = addr.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?.checked_sub(2)?;
    Some(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_such_a_port_have_none() {
        assert_eq!(vip_channel("broker"), None);
        assert_eq!(vip_channel("broker:1"), None);
        assert_eq!(vip_channel("broker:x"), None);
    }
}
