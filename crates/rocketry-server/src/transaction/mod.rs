//! Transactions: a half message waits in a topic of the system until its producer decides, and is checked back when that takes long.
//!
//! All state is in two queues, as in Java: `RMQ_SYS_TRANS_HALF_TOPIC` has the half messages, `RMQ_SYS_TRANS_OP_HALF_TOPIC` names those
//! that are decided, and the offsets of the group `CID_RMQ_SYS_TRANS` tell up to where both were looked at. What [`Decisions`] keeps in
//! memory only spares messages from being delivered twice.
//!
//! Differs from Java: a decision is written by the same call as the message it delivers, right behind it, not up to 3 s later. A
//! stop or a kill of the process keeps both or none. After a loss of power the message may be there without its decision, which was not
//! acknowledged then: its producer is asked again, and the message may be delivered a second time. And a producer that decides while
//! it is being asked has decided once: a decision and another copy of its half message are written one after the other, so that the
//! decision names the copy.
//!
//! Java: `TransactionalMessageServiceImpl`, `TransactionalMessageBridge`.

mod check;
mod decisions;
pub(crate) mod half;
mod op;

pub(crate) use check::run;
pub(crate) use decisions::{Begun, Decisions};
pub(crate) use op::put as op_put;

/// The one queue of half messages, and of decisions.
const QUEUE: i32 = 0;
