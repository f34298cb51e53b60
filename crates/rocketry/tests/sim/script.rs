//! The script of faults that a seed makes: what goes wrong where, from when to when; and the healing at its end.

use std::time::Duration;

use tokio::time::sleep_until;

use crate::{
    broker::Quirk,
    line::Cut,
    name_server::Queues,
    world::{HostId, HostState, Kind, State, World},
};

/// Something that happens at a time.
#[derive(Debug)]
struct Event {
    at_ms: u64,
    host: HostId,
    change: Change,
}

#[derive(Debug)]
pub(crate) enum Change {
    /// The process ends; connections are reset.
    Stop,
    /// The machine is cut off.
    Vanish,
    Freeze,
    /// Works again as if nothing had happened.
    Resume,
    /// Starts again, at a new address or the old one, without memory of connections.
    Restart {
        moved: bool,
    },
    Slow(u64, u64),
    Drip(usize),
    Quirk(Quirk, u8),
    Cut(Cut),
    /// Name servers forget the broker.
    Unregister,
    /// Name servers hear of the broker, at its address.
    Register,
    /// A topic's queues on the broker change.
    Queues(&'static str, Queues),
    /// The name server hears of nothing from now on.
    Stale,
    /// All that is wrong with answers is over.
    Behave,
}

/// Topics that exist from the beginning; `N` is created by its first message.
pub(crate) const TOPICS: [&str; 3] = ["T", "U", "O"];

/// A list of events in the order of time.
#[derive(Debug)]
pub(crate) struct Script {
    events: Vec<Event>,
    /// When everything works again.
    pub(crate) healed_ms: u64,
}

impl Script {
    /// Faults of every host, one after the other per host, up to the healing.
    pub(crate) fn new(random: &mut fastrand::Rng, hosts: &[bool]) -> Self {
        let healed_ms = random.u64(8_000..25_000);
        let mut events = Vec::new();
        for (host, is_broker) in hosts.iter().enumerate() {
            let mut at_ms = random.u64(0..6_000);
            while at_ms < healed_ms {
                let until_ms = (at_ms + random.u64(20..6_000)).min(healed_ms);
                let mut add = |at_ms, change| {
                    let at_ms = u64::min(at_ms, healed_ms);
                    events.push(Event {
                        at_ms,
                        host,
                        change,
                    });
                };
                if *is_broker {
                    broker_fault(random, at_ms, until_ms, &mut add);
                } else {
                    name_server_fault(random, at_ms, until_ms, &mut add);
                }
                at_ms = until_ms + random.u64(100..8_000);
            }
        }
        events.sort_by_key(|event| event.at_ms);
        Self { events, healed_ms }
    }

    /// Lets it happen.
    pub(crate) async fn play(self, world: World) {
        for event in self.events {
            sleep_until(world.started() + Duration::from_millis(event.at_ms)).await;
            world.change(event.host, |state, id| apply(state, id, &event.change));
        }
        sleep_until(world.started() + Duration::from_millis(self.healed_ms)).await;
        world.trace(format_args!("-- healed"));
        let hosts = world.lock().hosts.len();
        for id in 0..hosts {
            world.change(id, heal);
        }
    }
}

fn broker_fault(
    random: &mut fastrand::Rng,
    at_ms: u64,
    until_ms: u64,
    add: &mut impl FnMut(u64, Change),
) {
    let moved = random.bool();
    match random.u8(0..12) {
        0 | 1 => {
            add(
                at_ms,
                if random.bool() {
                    Change::Stop
                } else {
                    Change::Vanish
                },
            );
            if random.bool() {
                add(random.u64(at_ms..=until_ms), Change::Unregister);
            }
            add(until_ms, Change::Restart { moved });
            add(until_ms + random.u64(0..2_000), Change::Register);
        }
        2 => {
            add(at_ms, Change::Freeze);
            add(until_ms, Change::Resume);
        }
        3 => {
            add(at_ms, Change::Vanish);
            add(until_ms, Change::Resume);
        }
        4 => {
            let low = random.u64(0..1_500);
            add(at_ms, Change::Slow(low, low + random.u64(0..3_000)));
            add(until_ms, Change::Behave);
        }
        5 => {
            add(at_ms, Change::Drip(random.usize(1..40)));
            add(until_ms, Change::Behave);
        }
        6 => add(at_ms, Change::Cut(cut(random))),
        7 => {
            let topic = TOPICS[random.usize(..TOPICS.len())];
            let count = random.i32(1..=8);
            let writable = random.u8(0..3) > 0;
            add(at_ms, Change::Queues(topic, Queues { count, writable }));
            let writable = true;
            add(until_ms, Change::Queues(topic, Queues { count, writable }));
        }
        _ => {
            let percent = [10, 50, 100][random.usize(..3)];
            add(at_ms, Change::Quirk(quirk(random), percent));
            add(until_ms, Change::Behave);
        }
    }
}

fn name_server_fault(
    random: &mut fastrand::Rng,
    at_ms: u64,
    until_ms: u64,
    add: &mut impl FnMut(u64, Change),
) {
    let (fault, over) = match random.u8(0..8) {
        0 => (Change::Stop, Change::Restart { moved: false }),
        1 => (Change::Vanish, Change::Restart { moved: false }),
        2 => (Change::Freeze, Change::Resume),
        3 => (Change::Stale, Change::Behave),
        4 => (Change::Cut(cut(random)), Change::Behave),
        5 => (Change::Slow(0, 4_000), Change::Behave),
        _ => {
            let quirk = match random.u8(0..5) {
                0 => Quirk::Refuse([1, 2, 17][random.usize(..3)]),
                1 => Quirk::Swallow,
                2 => Quirk::CutBefore(cut(random)),
                3 => Quirk::Late(random.u64(0..4_000)),
                _ => Quirk::NoFields,
            };
            (Change::Quirk(quirk, 100), Change::Behave)
        }
    };
    add(at_ms, fault);
    add(until_ms, over);
}

fn cut(random: &mut fastrand::Rng) -> Cut {
    if random.bool() {
        Cut::Reset
    } else {
        Cut::Close
    }
}

fn quirk(random: &mut fastrand::Rng) -> Quirk {
    match random.u8(0..12) {
        0 => Quirk::Refuse([1, 2, 13, 14, 16, 17, 204, 205, 215][random.usize(..9)]),
        1 => Quirk::Refuse(1500),
        2 => Quirk::NotDurable([10, 11, 12][random.usize(..3)]),
        3 => Quirk::Swallow,
        4 => Quirk::Forget,
        5 => Quirk::CutAfter(cut(random)),
        6 => Quirk::CutBefore(cut(random)),
        7 => Quirk::Twice,
        8 => Quirk::Late(random.u64(0..6_000)),
        9 => Quirk::WrongOpaque,
        10 => Quirk::Garbage,
        _ => Quirk::NoFields,
    }
}

pub(crate) fn apply(state: &mut State, id: HostId, change: &Change) {
    let name = state.hosts[id].name.clone();
    state.note(format_args!("-- {name}: {change:?}"));
    match *change {
        Change::Stop => state.hosts[id].state = HostState::Down,
        Change::Vanish => state.hosts[id].state = HostState::Void,
        Change::Freeze => state.hosts[id].state = HostState::Frozen,
        Change::Resume => state.hosts[id].state = HostState::Up,
        Change::Restart { moved } => restart(state, id, moved),
        Change::Slow(low, high) => state.hosts[id].delay_ms = (low, high),
        Change::Drip(bytes) => state.hosts[id].drop_bytes = Some(bytes),
        Change::Quirk(quirk, percent) => state.set_quirk(id, Some((quirk, percent))),
        Change::Cut(cut) => state.hosts[id].cut = Some((state.lines(), cut)),
        Change::Unregister => drop(state.registered.remove(&name)),
        Change::Register => register(state, id),
        Change::Queues(topic, queues) => {
            let topic = state.topics.0.entry(topic.to_owned()).or_default();
            topic.insert(name, queues);
        }
        Change::Stale => {
            let routes = state.topics.routes(&state.registered);
            if let Kind::NameServer(server) = &mut state.hosts[id].kind {
                server.stale = Some(routes);
            }
        }
        Change::Behave => behave(state, id),
    }
}

fn restart(state: &mut State, id: HostId, moved: bool) {
    let host = &mut state.hosts[id];
    host.epoch += 1;
    host.state = HostState::Up;
    if moved {
        host.address = format!("10.0.{id}.{}:10911", host.epoch + 1);
    }
}

fn register(state: &mut State, id: HostId) {
    let host = &state.hosts[id];
    if host.state == HostState::Up && matches!(host.kind, Kind::Broker(_)) {
        let (name, address) = (host.name.clone(), host.address.clone());
        state.registered.insert(name, address);
    }
}

fn behave(state: &mut State, id: HostId) {
    let host = &mut state.hosts[id];
    host.delay_ms = (0, 2);
    host.drop_bytes = None;
    if let Kind::NameServer(server) = &mut host.kind {
        server.stale = None;
    }
    state.set_quirk(id, None);
}

fn heal(state: &mut State, id: HostId) {
    match state.hosts[id].state {
        HostState::Up => {}
        HostState::Frozen => state.hosts[id].state = HostState::Up,
        HostState::Down | HostState::Void => restart(state, id, false),
    }
    behave(state, id);
    register(state, id);
    let name = state.hosts[id].name.clone();
    for queues in state.topics.0.values_mut() {
        if let Some(queues) = queues.get_mut(&name) {
            queues.writable = true;
        }
    }
}
