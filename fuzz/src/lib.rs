//! Fuzz targets of the decoders; see [`targets`].

pub mod targets;

/// Runs the target `name` on `data`.
///
/// # Panics
/// If there is no such target, or if the target found a fault.
pub fn run(name: &str, data: &[u8]) {
    let target = targets::TARGETS.iter().find(|target| target.name == name).expect("a known target");
    (target.run)(data);
}
