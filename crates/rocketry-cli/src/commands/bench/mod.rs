//! `rocketry bench`: figures that anyone can check.

mod payload;
pub(crate) mod produce;
pub(crate) mod startup;
mod usage;
