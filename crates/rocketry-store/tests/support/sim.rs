//! A disk in memory that knows what was synced: it can be stopped at any operation, crash, and fail on demand.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use rocketry_store::fs::{Entry, File, FileLock, FileSystem, LockFailure, OpenMode};

/// Bytes that a disk writes whole.
const SECTOR: u64 = 512;

/// What becomes of unsynced changes in a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// All are lost.
    Lose,
    /// All are kept.
    Keep,
    /// The process died, not the machine: all is there, and not synced yet.
    Kill,
    /// Some are kept, sector by sector and in any order; the seed says which.
    Tear(u64),
}

/// What a chosen operation does instead of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The machine stops: this and every later operation fails.
    Stop,
    /// One error.
    Error(io::ErrorKind),
    /// A read or write does only a part; other operations do their work.
    Short,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// Files by number: they outlive their names while they are open.
    files: BTreeMap<u64, Content>,
    names: BTreeMap<String, Node>,
    synced_names: BTreeMap<String, Node>,
    /// Changes of names that were not synced, in order.
    name_changes: Vec<(String, Option<Node>)>,
    next: u64,
    operations: u64,
    fault: Option<(u64, Fault)>,
    stopped: bool,
    locked: bool,
    /// Directories that are disks of their own, none within another.
    mounts: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(u64),
}

/// Its bytes are shared with the disks that were copied from this one, until they change.
#[derive(Debug, Clone, Default)]
struct Content {
    now: Arc<Vec<u8>>,
    synced: Arc<Vec<u8>>,
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Arc<[u8]>),
    Length(u64),
}

impl Change {
    fn apply(&self, bytes: &mut Arc<Vec<u8>>) {
        match self {
            Self::Write(at, data) => write(bytes, *at, data),
            Self::Length(len) => Arc::make_mut(bytes).resize(usize::try_from(*len).unwrap(), 0),
        }
    }
}

fn write(bytes: &mut Arc<Vec<u8>>, at: u64, data: &[u8]) {
    let bytes = Arc::make_mut(bytes);
    let at = usize::try_from(at).unwrap();
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

/// The name of a file, which compares faster than a path.
fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn parent(name: &str) -> &str {
    match name.rfind('/') {
        None | Some(0) => "/",
        Some(at) => &name[..at],
    }
}

/// A simulated disk. Clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct SimFs(Arc<Mutex<State>>);

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimFs")
    }
}

impl SimFs {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Operations so far.
    pub(crate) fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets operation number `at` do `fault`.
    pub(crate) fn inject(&self, at: u64, fault: Fault) {
        self.state().fault = Some((at, fault));
    }

    /// The disk that the next start finds.
    pub(crate) fn crash(&self, crash: Crash) -> Self {
        let mut state = self.state().clone();
        if crash == Crash::Kill {
            return Self(Arc::new(Mutex::new(State {
                operations: 0,
                fault: None,
                stopped: false,
                locked: false,
                ..state
            })));
        }
        let mut random = fastrand::Rng::with_seed(match crash {
            Crash::Tear(seed) => seed,
            _ => 0,
        });
        // names change in order: file systems keep a journal of them
        let kept = match crash {
            Crash::Lose => 0,
            Crash::Keep | Crash::Kill => state.name_changes.len(),
            Crash::Tear(_) => random.usize(..=state.name_changes.len()),
        };
        let mut names = state.synced_names.clone();
        for (path, node) in state.name_changes.drain(..kept) {
            set_name(&mut names, path, node);
        }
        // what is below a directory that was lost cannot be reached
        let all = names.clone();
        names.retain(|path, _| {
            let above = std::iter::successors(Some(parent(path)), |above| Some(parent(above)));
            let mut above = above.take_while(|above| *above != "/");
            above.all(|above| all.get(above) == Some(&Node::Dir))
        });
        for content in state.files.values_mut() {
            let mut bytes = Arc::clone(&content.synced);
            for change in &content.changes {
                match crash {
                    Crash::Lose => {}
                    Crash::Keep | Crash::Kill => change.apply(&mut bytes),
                    Crash::Tear(_) => tear(change, &mut bytes, &mut random),
                }
            }
            *content = Content {
                now: Arc::clone(&bytes),
                synced: bytes,
                changes: Vec::new(),
            };
        }
        Self(Arc::new(Mutex::new(State {
            files: state.files,
            synced_names: names.clone(),
            names,
            next: state.next,
            mounts: state.mounts,
            ..State::default()
        })))
    }

    /// Makes a directory a disk of its own, for [`FileSystem::sync_all`].
    pub(crate) fn mount(&self, dir: &Path) {
        self.create_dir(dir).unwrap();
        let mut state = self.state();
        state.synced_names = state.names.clone();
        state.name_changes.clear();
        state.mounts.push(name(dir).to_owned());
    }

    /// All files with their content.
    pub(crate) fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state
            .names
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File(number) => Some((path.clone(), state.files[number].now.to_vec())),
                Node::Dir => None,
            })
            .collect()
    }

    /// Removes everything below a directory, as an operator would.
    pub(crate) fn remove_all(&self, dir: &Path) {
        let mut state = self.state();
        state
            .names
            .retain(|path, _| !Path::new(path).starts_with(dir));
        state.synced_names = state.names.clone();
        state.name_changes.clear();
    }

    /// Counts an operation; `Ok(true)` if it is to do only a part.
    fn step(&self) -> io::Result<(MutexGuard<'_, State>, bool)> {
        let mut state = self.state();
        state.operations += 1;
        if let Some((at, fault)) = state.fault
            && at == state.operations
        {
            match fault {
                Fault::Stop => state.stopped = true,
                Fault::Error(kind) => return Err(kind.into()),
                Fault::Short => return Ok((state, true)),
            }
        }
        if state.stopped {
            return Err(io::Error::other("the machine has stopped"));
        }
        Ok((state, false))
    }
}

fn set_name(names: &mut BTreeMap<String, Node>, path: String, node: Option<Node>) {
    match node {
        Some(node) => names.insert(path, node),
        None => names.remove(&path),
    };
}

/// Applies a part of a change.
fn tear(change: &Change, bytes: &mut Arc<Vec<u8>>, random: &mut fastrand::Rng) {
    match change {
        Change::Write(at, data) => {
            let end = at + data.len() as u64;
            let mut from = *at;
            while from < end {
                let to = end.min(from / SECTOR * SECTOR + SECTOR);
                if random.bool() {
                    let place = |at: u64| usize::try_from(at).unwrap();
                    let piece = &data[place(from - at)..place(to - at)];
                    // a write beyond a lost change of the length has no place to go to
                    if to <= bytes.len() as u64 {
                        write(bytes, from, piece);
                    }
                }
                from = to;
            }
        }
        Change::Length(_) => {
            if random.bool() {
                change.apply(bytes);
            }
        }
    }
}

impl State {
    /// The disk that holds what is in a directory.
    fn disk_of(&self, dir: &str) -> Option<&String> {
        let holds = |mount: &&String| Path::new(dir).starts_with(mount);
        self.mounts.iter().find(holds)
    }

    fn rename_to(&mut self, path: String, node: Option<Node>) {
        set_name(&mut self.names, path.clone(), node);
        self.name_changes.push((path, node));
    }
}

impl FileSystem for SimFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let (mut state, _) = self.step()?;
        let number = match (state.names.get(name(path)), mode) {
            (Some(Node::Dir), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(number)), _) => *number,
            (None, OpenMode::Read | OpenMode::Write) => {
                return Err(io::ErrorKind::NotFound.into());
            }
            (None, _) => {
                if state.names.get(parent(name(path))) != Some(&Node::Dir) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.next += 1;
                let number = state.next;
                state.files.insert(number, Content::default());
                state.rename_to(name(path).to_owned(), Some(Node::File(number)));
                number
            }
        };
        if mode == OpenMode::Truncate {
            let content = state.files.get_mut(&number).unwrap();
            content.now = Arc::default();
            content.changes.push(Change::Length(0));
        }
        Ok(Arc::new(SimFile {
            fs: self.clone(),
            number,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (mut state, _) = self.step()?;
        let node = *state.names.get(name(from)).ok_or(io::ErrorKind::NotFound)?;
        // one entry in the journal: the pair below is never split by a crash that keeps names in order, as `to` comes first
        state.rename_to(name(to).to_owned(), Some(node));
        state.rename_to(name(from).to_owned(), None);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (mut state, _) = self.step()?;
        state.names.get(name(path)).ok_or(io::ErrorKind::NotFound)?;
        state.rename_to(name(path).to_owned(), None);
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let (state, _) = self.step()?;
        match state.names.get(name(dir)) {
            Some(Node::Dir) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        Ok(state
            .names
            .range::<str, _>((Bound::Included(name(dir)), Bound::Unbounded))
            .take_while(|(path, _)| path.starts_with(name(dir)))
            .filter(|(path, _)| path.len() > name(dir).len() && parent(path) == name(dir))
            .map(|(path, node)| Entry {
                name: path[name(dir).len() + 1..].to_owned(),
                is_dir: *node == Node::Dir,
                len: match node {
                    Node::Dir => 0,
                    Node::File(number) => state.files[number].now.len() as u64,
                },
            })
            .collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, _) = self.step()?;
        let missing: Vec<_> = dir
            .ancestors()
            .map(name)
            .filter(|path| !state.names.contains_key(*path))
            .map(str::to_owned)
            .collect();
        for path in missing.into_iter().rev() {
            state.rename_to(path, Some(Node::Dir));
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let (mut state, _) = self.step()?;
        let changes = std::mem::take(&mut state.name_changes);
        for (path, node) in changes {
            if parent(&path) == name(dir) {
                set_name(&mut state.synced_names, path, node);
            } else {
                state.name_changes.push((path, node));
            }
        }
        Ok(())
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        let (mut guard, _) = self.step()?;
        let disk = guard.disk_of(name(path)).cloned();
        let state = &mut *guard;
        let changes = std::mem::take(&mut state.name_changes);
        for (path, node) in changes {
            if state.disk_of(parent(&path)) == disk.as_ref() {
                set_name(&mut state.synced_names, path, node);
            } else {
                state.name_changes.push((path, node));
            }
        }
        let elsewhere: BTreeSet<u64> = state
            .names
            .iter()
            .filter_map(|(path, node)| match node {
                Node::File(number) if state.disk_of(parent(path)) != disk.as_ref() => Some(*number),
                _ => None,
            })
            .collect();
        for (number, content) in &mut state.files {
            if !elsewhere.contains(number) {
                content.synced = Arc::clone(&content.now);
                content.changes.clear();
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> Result<FileLock, LockFailure> {
        if self.state().locked {
            return Err(LockFailure::Held(None));
        }
        self.open(path, OpenMode::Create).map_err(LockFailure::Io)?;
        self.state().locked = true;
        Ok(FileLock::new(Unlock(self.clone())))
    }

    fn free_bytes(&self, _: &Path) -> Option<u64> {
        Some(0)
    }
}

#[derive(Debug)]
struct Unlock(SimFs);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.state().locked = false;
    }
}

struct SimFile {
    fs: SimFs,
    number: u64,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimFile({})", self.number)
    }
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let (mut state, _) = self.fs.step()?;
        let content = state.files.get_mut(&self.number).unwrap();
        change.apply(&mut content.now);
        content.changes.push(change);
        Ok(())
    }
}

impl File for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (state, short) = self.fs.step()?;
        let bytes = &state.files[&self.number].now;
        let from = usize::try_from(offset).unwrap().min(bytes.len());
        let mut n = buf.len().min(bytes.len() - from);
        if short && n > 1 {
            n /= 2;
        }
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let (mut state, short) = self.fs.step()?;
        let n = if short && buf.len() > 1 {
            buf.len() / 2
        } else {
            buf.len()
        };
        let change = Change::Write(offset, buf[..n].into());
        let content = state.files.get_mut(&self.number).unwrap();
        change.apply(&mut content.now);
        content.changes.push(change);
        Ok(n)
    }

    fn length(&self) -> io::Result<u64> {
        let (state, _) = self.fs.step()?;
        Ok(state.files[&self.number].now.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::Length(len))
    }

    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()> {
        let (mut state, _) = self.fs.step()?;
        let content = state.files.get_mut(&self.number).unwrap();
        let len = len.min((content.now.len() as u64).saturating_sub(offset));
        let change = Change::Write(offset, vec![0; usize::try_from(len).unwrap()].into());
        change.apply(&mut content.now);
        content.changes.push(change);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let (mut state, _) = self.fs.step()?;
        let content = state.files.get_mut(&self.number).unwrap();
        content.synced = Arc::clone(&content.now);
        content.changes.clear();
        Ok(())
    }
}
