use std::{
    path::Path,
    sync::{Condvar as StdCondvar, Mutex as StdMutex, mpsc},
};

use rocketry_store::{
    FileSystem, FlushMode, Reader, Store, StoreOptions,
    fs::{Entry, File, FileLock, LockFailure, OpenMode, RealFileSystem},
};

use super::{
    log::{Synced, append},
    *,
};

/// A disk whose syncs of commit-log files wait until they are let go, and whose writes to them take a time of their own.
#[derive(Debug, Default)]
struct SlowDisk {
    gate: Arc<Gate>,
    writes_take: Duration,
}

#[derive(Debug, Default)]
struct Gate {
    is_shut: StdMutex<bool>,
    opened: StdCondvar,
}

impl Gate {
    fn set(&self, is_shut: bool) {
        *self.is_shut.lock().unwrap() = is_shut;
        self.opened.notify_all();
    }
    fn pass(&self) {
        let is_shut = self.is_shut.lock().unwrap();
        drop(self.opened.wait_while(is_shut, |is_shut| *is_shut).unwrap());
    }
}

#[derive(Debug)]
struct SlowFile {
    file: Arc<dyn File>,
    gate: Arc<Gate>,
    writes_take: Duration,
}

impl FileSystem for SlowDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = RealFileSystem.open(path, mode)?;
        let is_log = path.parent().is_some_and(|dir| dir.ends_with("commitlog"));
        Ok(if is_log {
            Arc::new(SlowFile {
                file,
                gate: Arc::clone(&self.gate),
                writes_take: self.writes_take,
            })
        } else {
            file
        })
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        RealFileSystem.list(dir)
    }
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        RealFileSystem.create_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFileSystem.sync_dir(dir)
    }
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.sync_all(path)
    }
    fn lock(&self, path: &Path) -> Result<FileLock, LockFailure> {
        RealFileSystem.lock(path)
    }
    fn free_bytes(&self, path: &Path) -> Option<u64> {
        RealFileSystem.free_bytes(path)
    }
}

impl File for SlowFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        thread::sleep(self.writes_take);
        self.file.write_at(buf, offset)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn zero_range(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.zero_range(offset, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync()
    }
}

struct Nobody;

impl ArrivalSink for Nobody {
    fn arrived(&self, _: &Arrival<'_>) {}
}

fn put(properties: &str) -> Put {
    let host = "127.0.0.1:1".parse().unwrap();
    Put {
        topic: Arc::new(TopicConfig::new("T", 1)),
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_ms: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: Bytes::from_static(b"x"),
        properties: properties.to_owned(),
        batch: false,
        origin: Origin::New,
    }
}

fn send(handle: &WriterHandle, properties: &str) -> mpsc::Receiver<Result<Stored, PutError>> {
    let (tell, told) = mpsc::channel();
    let done = move |outcome| tell.send(outcome).unwrap();
    handle.put(put(properties), None, Box::new(done));
    told
}

fn readable(reader: &Reader) -> i64 {
    reader.queue_range("T", 0).map_or(0, |range| range.max)
}

/// S-031: no answer before the sync, unless the message does not wait for it or the sync takes too long.
#[test]
fn s031_answers_wait_for_the_disk_but_not_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let gate = Arc::new(Gate::default());
    let disk = SlowDisk {
        gate: Arc::clone(&gate),
        ..SlowDisk::default()
    };
    let options = StoreOptions {
        flush: FlushMode::Sync,
        ..StoreOptions::default()
    };
    let (writer, reader, _) = Store::open_on(Arc::new(disk), dir.path(), options, 1).unwrap();
    let (handle, thread) =
        spawn(writer, false, 10, 1 << 20, Arc::new(Nobody), Arc::default()).unwrap();
    let stored = send(&handle, "").recv().unwrap().unwrap();
    assert!(!stored.sync_is_late);

    gate.set(true);
    let at_once = send(&handle, "KEYS\u{1}k\u{2}WAIT\u{1}false\u{2}");
    assert!(!at_once.recv().unwrap().unwrap().sync_is_late);
    assert_eq!(readable(&reader), 1, "not before it is on disk");
    gate.set(false);
    let waits = send(&handle, "XWAIT\u{1}false\u{2}");
    assert!(!waits.recv().unwrap().unwrap().sync_is_late);
    assert_eq!(readable(&reader), 3);

    gate.set(true);
    let late = send(&handle, "");
    while handle.inbox.syncing.lock().puts.is_empty() {
        thread::yield_now();
    }
    handle.answer_late(Duration::from_hours(1));
    assert!(late.try_recv().is_err());
    handle.answer_late(Duration::ZERO);
    let stored = late.recv().unwrap().unwrap();
    assert!(stored.sync_is_late);
    assert_eq!(stored.records[0].queue_offset, 3);
    gate.set(false);
    assert!(!send(&handle, "").recv().unwrap().unwrap().sync_is_late);
    assert_eq!(readable(&reader), 5);
    handle.stop();
    thread.join().unwrap().unwrap();
}

/// A connection carries out what it handed in, and what others did meanwhile; a removal is left to the thread, in its order.
#[test]
fn a_connection_carries_out_rounds_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader, _) = Store::open(dir.path(), StoreOptions::default(), 1).unwrap();
    let (handle, thread) =
        spawn(writer, false, 10, 1 << 20, Arc::new(Nobody), Arc::default()).unwrap();
    let (tell, told) = mpsc::channel();
    let here = thread::current().id();
    let later = |handle: &WriterHandle| {
        let tell = tell.clone();
        let done = move |outcome: Result<Stored, _>| {
            tell.send((outcome.unwrap(), thread::current().id()))
                .unwrap();
        };
        handle.put_for_later(put(""), None, Box::new(done));
    };
    later(&handle);
    later(&handle);
    handle.carry_out(false);
    for offset in 0..2 {
        let (stored, by) = told.try_recv().unwrap();
        assert_eq!((stored.records[0].queue_offset, by), (offset, here));
    }
    assert_eq!(readable(&reader), 2);

    later(&handle);
    let (tell_removed, removed) = mpsc::channel();
    handle.remove_topic(
        "T".to_owned(),
        Box::new(move |queues| tell_removed.send(queues).unwrap()),
    );
    later(&handle);
    handle.carry_out(false);
    assert_eq!(told.recv().unwrap().0.records[0].queue_offset, 2);
    assert_eq!(removed.recv().unwrap(), Ok(1));
    assert_eq!(told.recv().unwrap().0.records[0].queue_offset, 0);

    *handle.inbox.thread_only.lock() = Some(Instant::now() + Duration::from_hours(1));
    later(&handle);
    handle.carry_out(false);
    assert_ne!(told.recv().unwrap().1, here, "the disk is slow");
    handle.stop();
    handle.carry_out(false);
    thread.join().unwrap().unwrap();
    handle.carry_out(false);
}

/// A connection that has more to put in right away need not wait with what costs a write; another sync would cost far more than it gains.
#[test]
fn only_a_sync_waits_for_what_comes_next() {
    for flush in [FlushMode::Async, FlushMode::Sync] {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            flush,
            ..StoreOptions::default()
        };
        let (writer, _, _) = Store::open(dir.path(), options, 1).unwrap();
        let (handle, thread) =
            spawn(writer, false, 10, 1 << 20, Arc::new(Nobody), Arc::default()).unwrap();
        let (tell, told) = mpsc::channel();
        handle.put_for_later(
            put(""),
            None,
            Box::new(move |outcome| tell.send(outcome.is_ok()).unwrap()),
        );
        handle.carry_out(true);
        if flush == FlushMode::Async {
            assert_eq!(told.try_recv(), Ok(true));
        } else {
            assert_eq!(handle.waiting(), 1, "the thread was not told");
            handle.carry_out(false);
            assert_eq!(told.recv(), Ok(true));
        }
        handle.stop();
        thread.join().unwrap().unwrap();
    }
}

/// A sync waits for those that the last one answered, not for ever, and for a while not again when they have not come.
#[test]
fn a_sync_waits_for_those_who_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        flush: FlushMode::Sync,
        ..StoreOptions::default()
    };
    let (writer, _, _) = Store::open(dir.path(), options, 1).unwrap();
    let (handle, thread) =
        spawn(writer, false, 10, 1 << 20, Arc::new(Nobody), Arc::default()).unwrap();
    // Held, so that the thread takes nothing.
    let log = handle.inbox.log.lock();
    let later = || {
        handle.put_for_later(put(""), None, Box::new(|outcome| drop(outcome.unwrap())));
    };
    let inbox = &handle.inbox;
    let mut gather = Gather::default();
    let long = Duration::from_hours(1);
    let synced = |puts, took| Synced {
        puts,
        waiting: 1,
        took,
    };

    later();
    gather.synced(&synced(1, Duration::ZERO));
    inbox.gather(&mut gather);
    assert_eq!(
        handle.waiting(),
        1,
        "a sync that takes no time is not waited for"
    );

    gather.synced(&synced(1, long));
    gather.longest(long);
    thread::scope(|scope| {
        let waits = scope.spawn(|| inbox.gather(&mut gather));
        later();
        handle.inbox.work.notify_all();
        waits.join().unwrap();
    });
    assert_eq!(handle.waiting(), 2);

    gather.synced(&synced(2, Duration::from_millis(2)));
    inbox.gather(&mut gather);
    gather.synced(&synced(2, long));
    gather.longest(long);
    inbox.gather(&mut gather); // would take an hour
    drop(log);
    handle.stop();
    thread.join().unwrap().unwrap();
}

/// After one slow round a connection leaves the next ones to the thread, also when nobody else waited meanwhile.
#[test]
fn a_slow_disk_is_left_to_the_thread() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SlowDisk {
        writes_take: SLOW_ROUND * 2,
        ..SlowDisk::default()
    };
    let options = StoreOptions::default();
    let (writer, _, _) = Store::open_on(Arc::new(disk), dir.path(), options, 1).unwrap();
    let (handle, thread) =
        spawn(writer, false, 10, 1 << 20, Arc::new(Nobody), Arc::default()).unwrap();
    let (tell, told) = mpsc::channel();
    handle.put_for_later(
        put(""),
        None,
        Box::new(move |outcome| tell.send(outcome.is_ok()).unwrap()),
    );
    assert!(!handle.inbox.is_thread_only());
    handle.carry_out(false);
    assert_eq!(told.try_recv(), Ok(true));
    assert!(handle.inbox.is_thread_only());
    handle.stop();
    thread.join().unwrap().unwrap();
}

/// A message that moves on is stored without the broker's additions when they are too much, and whatever the limit for bodies is now.
#[test]
fn what_moves_on_was_accepted_before() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions {
        max_message_bytes: 10,
        ..StoreOptions::default()
    };
    let (mut writer, reader, _) = Store::open(dir.path(), options, 1).unwrap();
    let too_long = "k\u{1}".to_owned() + &"v".repeat(40_000) + "\u{2}";
    let large = Put {
        body: Bytes::from_static(b"more than ten"),
        ..put("")
    };
    let refused = append(&mut writer, &large, 1).unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge { .. }));
    let moved = |bare: Option<&'static str>| Put {
        origin: Origin::Stored {
            bare: bare.map(|text| Bytes::from_static(text.as_bytes())),
        },
        properties: too_long.clone(),
        ..large.clone()
    };
    let refused = append(&mut writer, &moved(None), 1).unwrap_err();
    assert!(matches!(refused, AppendError::PropertiesTooLong { .. }));
    append(&mut writer, &moved(Some("a\u{1}b\u{2}")), 1).unwrap();
    writer.commit().unwrap();
    let read = reader
        .read("T", 0, 0, &rocketry_store::ReadLimits::default(), None)
        .unwrap();
    let (record, _) = rocketry_protocol::record::Record::parse(&read.messages).unwrap();
    assert_eq!(record.properties, b"a\x01b\x02");
    assert_eq!(record.body, b"more than ten");
}
