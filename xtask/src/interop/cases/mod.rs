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

/// All cases. Those of one group run one after the other and may share servers; groups may run at the same time. The longest come first.
pub(crate) fn groups() -> Vec<Vec<Case>> {
    vec![
        clients::cases(),
        takeover::cases(),
        producer::cases(),
        live::cases(),
        store::cases(),
        differential::cases(),
        mqadmin_parity::cases(),
        auth::cases(),
        auth_tools::cases(),
        cluster::cases(),
        registration::cases(),
        batch_queue::cases(),
        examples::cases(),
        texts::cases(),
    ]
}
