//! The cases, by what they hold together.

mod auth;
mod auth_tools;
mod batch_queue;
mod clients;
mod cluster;
pub(crate) mod differential;
mod examples;
mod live;
mod mqadmin_parity;
mod producer;
mod registration;
mod store;
mod takeover;
mod texts;

use std::future::Future;
use std::pin::Pin;

pub(crate) use producer::secured::kept_users;

use crate::Result;
use crate::interop::world::World;

type Running<'a> = Pin<Box<dyn Future<Output = Result> + 'a>>;

/// One line of the report.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) run: Box<dyn for<'a> Fn(&'a mut World) -> Running<'a>>,
}

impl Case {
    fn new(
        name: impl Into<String>,
        run: impl for<'a> Fn(&'a mut World) -> Running<'a> + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
        }
    }
}

/// All cases, in the order in which they run.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = texts::cases();
    cases.extend(producer::cases());
    cases.extend(clients::cases());
    cases.extend(live::cases());
    cases.extend(mqadmin_parity::cases());
    cases.extend(differential::cases());
    cases.extend(registration::cases());
    cases.extend(cluster::cases());
    cases.extend(examples::cases());
    cases.extend(auth::cases());
    cases.extend(auth_tools::cases());
    cases.extend(batch_queue::cases());
    cases.extend(store::cases());
    cases.extend(takeover::cases());
    cases
}
