//! The sends of a producer whose first requests are on their way, so that the end of a shutdown reaches them: no task waits for it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;

use super::flight::Flight;

/// The sends of a producer whose first requests are on their way.
#[derive(Default)]
pub(crate) struct Airborne {
    seats: Mutex<Seats>,
    ended: AtomicBool,
}

#[derive(Default)]
struct Seats {
    taken: Vec<Option<Arc<Flight>>>,
    free: Vec<u32>,
    ended: bool,
}

impl Airborne {
    /// Takes `flight` in; `None` when [`Airborne::end`] was called.
    pub(super) fn enter(&self, flight: &Arc<Flight>) -> Option<u32> {
        let mut seats = self.seats.lock();
        if seats.ended {
            return None;
        }
        let flight = Arc::clone(flight);
        if let Some(seat) = seats.free.pop() {
            if let Some(place) = seats.taken.get_mut(seat as usize) {
                *place = Some(flight);
            }
            return Some(seat);
        }
        let seat = u32::try_from(seats.taken.len()).ok()?;
        seats.taken.push(Some(flight));
        Some(seat)
    }

    pub(super) fn leave(&self, seat: Option<u32>) {
        let Some(seat) = seat else { return };
        let left = {
            let mut seats = self.seats.lock();
            let place = seats.taken.get_mut(seat as usize);
            let left = place.and_then(Option::take);
            if left.is_some() {
                seats.free.push(seat);
            }
            left
        };
        // with the seats unlocked: it may be the last handle
        drop(left);
    }

    /// Whether nothing may begin any more.
    pub(super) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Ends what is under way, in the order in which it began, and lets nothing begin any more.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let mut flights: Vec<_> = {
            let mut seats = self.seats.lock();
            seats.ended = true;
            seats.taken.iter().flatten().cloned().collect()
        };
        flights.sort_by_key(|flight| flight.number());
        for flight in flights {
            flight.abort();
        }
    }
}
