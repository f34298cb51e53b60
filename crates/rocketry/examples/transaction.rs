//! Sends messages that consumers get only if a local transaction succeeds.
//!
//! `cargo run -p rocketry --example transaction [TOPIC]`, with a server from `rocketry serve` or the one in NAMESRV_ADDR.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rocketry::{Client, Decision, Message, NameServers};

/// Stands for the database: order -> whether it was paid.
type Orders = Arc<Mutex<HashMap<String, bool>>>;

fn pay(orders: &Orders, order: &str) -> Decision {
    let paid = order != "order-2";
    if let Ok(mut orders) = orders.lock() {
        orders.insert(order.to_owned(), paid);
    }
    decide(orders, order)
}

fn decide(orders: &Orders, order: &str) -> Decision {
    match orders
        .lock()
        .ok()
        .and_then(|orders| orders.get(order).copied())
    {
        Some(true) => Decision::Commit,
        Some(false) => Decision::Rollback,
        // not there yet, or not for sure: the broker asks again
        None => Decision::Unknown,
    }
}

#[tokio::main]
async fn main() -> Result<(), rocketry::Error> {
    let topic = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "TopicTest".to_owned());
    let client = Client::connect(NameServers::from_env()).await?;
    let orders = Orders::default();
    // answers for what this process, or another one of the group, left undecided
    let known = Arc::clone(&orders);
    let producer = client
        .producer("example-transaction")
        .transaction_checker(move |half| decide(&known, half.keys().next().unwrap_or_default()))
        .await?;

    for order in ["order-1", "order-2", "order-3"] {
        let message = Message::new(&*topic, format!("{order} is paid")).key(order);
        let local = async |_half| pay(&orders, order);
        let result = producer.send_in_transaction(message, local).await?;
        eprintln!("{order}: {} {}", result.sent.msg_id, result.decision);
    }
    client.shutdown(Duration::from_secs(3)).await;
    Ok(())
}
