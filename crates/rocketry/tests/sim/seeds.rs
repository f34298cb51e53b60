//! Many seeds, one after the other on each of two threads.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use parking_lot::Mutex;

use crate::run::run;

/// Seeds that an ordinary test run takes; `ROCKETRY_SIM_SEEDS` sets another number.
const SEEDS: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

/// What is wrong with `seed`, if anything.
fn fault_of(seed: u64) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed).fault)) {
        Ok(fault) => fault,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Some(format!("panicked: {}", text.unwrap_or_default()))
        }
    }
}

/// P-010, P-149: whatever happens to the cluster: each send ends once and in time, what is acknowledged is stored, what is called "not
/// stored" is not, orders hold, transactions come to what the application decided, the client recovers with the network, and neither
/// permits, table entries, tasks nor connections are left.
#[test]
fn every_seed_holds() {
    if let Some(seed) = number("ROCKETRY_SIM_SEED") {
        let outcome = run(seed);
        println!("{}", outcome.trace);
        assert_eq!(outcome.fault, None, "seed {seed}");
        return;
    }
    let seeds = number("ROCKETRY_SIM_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let faults = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds || faults.lock().len() >= 10 {
                        return;
                    }
                    if let Some(fault) = fault_of(seed) {
                        faults.lock().push(format!("seed {seed}: {fault}"));
                    }
                }
            });
        }
    });
    let faults = faults.into_inner();
    assert!(
        faults.is_empty(),
        "{}\nreplay one with its trace: ROCKETRY_SIM_SEED=n cargo test -p rocketry --test sim every_seed -- --nocapture",
        faults.join("\n")
    );
}

/// One seed gives one trace: what a failing seed shows can be looked at as often as needed.
#[test]
fn a_seed_repeats_its_trace() {
    let mut lines = 0;
    for seed in 1_000_000..1_000_020 {
        let (first, second) = (run(seed), run(seed));
        let differing = first
            .trace
            .lines()
            .zip(second.trace.lines())
            .find(|(one, other)| one != other);
        assert_eq!(differing, None, "seed {seed}");
        assert_eq!(first.trace.len(), second.trace.len(), "seed {seed}");
        lines += first.trace.lines().count();
    }
    assert!(lines > 1_000, "only {lines} events in 20 runs");
}
