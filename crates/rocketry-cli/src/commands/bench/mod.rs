//! `rocketry bench`: figures that anyone can check.

pub(crate) mod consume;
mod payload;
pub(crate) mod produce;
pub(crate) mod startup;
mod usage;
