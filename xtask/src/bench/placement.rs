//! Client and server on a core each, while one send at a time is under way.
//!
//! Left alone, the system runs both on one core in some rounds, where a wake-up is a switch of context, and on two in others, where it is an
//! interrupt of the other core and takes several times as long: the median of a few rounds then says which kind came more often. On two
//! cores is how client and server are on two machines.

#[cfg(target_os = "linux")]
pub(super) use linux::Placement;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Placement;

#[cfg(target_os = "linux")]
mod linux {
    use rustix::process::Pid;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    /// The cores that this process was given, and one of them for each side.
    #[derive(Debug)]
    pub(in super::super) struct Placement {
        all: CpuSet,
        client: CpuSet,
        server: CpuSet,
    }

    impl Placement {
        /// `None` with a single core.
        pub(in super::super) fn new() -> Option<Self> {
            let all = sched_getaffinity(None).ok()?;
            let mut cores = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
            let mut one = || {
                let mut set = CpuSet::new();
                set.set(cores.next()?);
                Some(set)
            };
            Some(Self {
                all,
                server: one()?,
                client: one()?,
            })
        }

        /// Moves a server. A process that ended, or 0, is none.
        pub(in super::super) fn server(&self, pid: u32) {
            place(pid, &self.server);
        }

        /// Moves a client; what this process starts from now on begins where it is itself.
        pub(in super::super) fn client(&self, pid: u32) {
            place(pid, &self.client);
        }

        /// Lets a process run anywhere.
        pub(in super::super) fn anywhere(&self, pid: u32) {
            place(pid, &self.all);
        }
    }

    /// All threads of a process; those that they start are where they are.
    fn place(pid: u32, cores: &CpuSet) {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            return;
        };
        for thread in threads.flatten() {
            let id = thread.file_name();
            let id = id.to_str().and_then(|id| id.parse().ok());
            if let Some(id) = id.and_then(Pid::from_raw) {
                // a thread that ended meanwhile needs no core
                let _ = sched_setaffinity(Some(id), cores);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    /// Other systems are left alone.
    #[derive(Debug)]
    pub(in super::super) struct Placement;

    impl Placement {
        pub(in super::super) fn new() -> Option<Self> {
            None
        }

        pub(in super::super) fn server(&self, _: u32) {}

        pub(in super::super) fn client(&self, _: u32) {}

        pub(in super::super) fn anywhere(&self, _: u32) {}
    }
}
