//! The ledger as a whole: what was written is what is read, or told as gone.

mod fan_out;
mod forms;
mod lines;
mod pipes;
mod resume;

use std::time::Duration;

use sandbox_protocol::log::{From, Selection, Stream};
use sandbox_protocol::time::Timestamp;
use tempfile::TempDir;

use super::{Caps, Ledger, Reader, Step, Store};

/// How long a test waits for what must come.
const LIMIT: Duration = Duration::from_secs(20);

/// A store in a folder of its own.
struct Fixture {
    store: Store,
    _folder: TempDir,
}

impl Fixture {
    fn new(total_bytes: u64, memory_bytes: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let caps = Caps {
            total_bytes,
            memory_bytes,
            followers: 1000,
        };
        let store = Store::new(folder.path().join("ledgers"), caps).unwrap();
        Self {
            store,
            _folder: folder,
        }
    }

    fn ledger(&self, log_bytes: u64) -> Ledger {
        self.store.ledger("p", "boot", 1, log_bytes)
    }
}

fn fixture() -> Fixture {
    Fixture::new(1 << 30, 16 << 20)
}

fn out(ledger: &Ledger, at: i64, text: impl AsRef<[u8]>) {
    ledger.append(Stream::Stdout, Timestamp(at), text.as_ref());
}

fn err(ledger: &Ledger, at: i64, text: impl AsRef<[u8]>) {
    ledger.append(Stream::Stderr, Timestamp(at), text.as_ref());
}

fn reader(ledger: &Ledger) -> Reader {
    ledger.reader(&From::Start, Selection::Both).unwrap()
}

/// What `reader` reads without waiting, and the bytes that it is told are gone.
async fn read_now(reader: &mut Reader) -> (Vec<u8>, u64) {
    let (mut bytes, mut gone) = (Vec::new(), 0);
    loop {
        match reader.step().await {
            Step::Gap(gap) => gone += gap,
            Step::Entries(batch) => {
                for entry in batch.entries() {
                    if matches!(entry.kind, sandbox_protocol::kept::Kind::Output(_)) {
                        bytes.extend_from_slice(entry.bytes);
                    }
                }
            }
            Step::Idle | Step::Ended => return (bytes, gone),
        }
    }
}

/// Resolves when the thread that writes segments has brought memory down to `bytes`.
async fn spilled_to(store: &Store, bytes: u64) {
    let shared = &store.0;
    let down = async {
        loop {
            let mut freed = std::pin::pin!(shared.freed.notified());
            freed.as_mut().enable();
            if shared
                .memory_bytes
                .load(std::sync::atomic::Ordering::Relaxed)
                <= bytes
            {
                return;
            }
            freed.await;
        }
    };
    tokio::time::timeout(LIMIT, down).await.unwrap();
}

/// The exit event of a process that ended by itself.
fn exit(code: i32) -> sandbox_protocol::log::LogEvent<'static> {
    sandbox_protocol::log::LogEvent::Exit {
        exit_code: Some(code),
        signal: None,
        reason: sandbox_protocol::process::ExitReason::Exited,
        data: sandbox_protocol::log::ending(Some(code), None).into(),
        process_id: "p".into(),
        timestamp: Timestamp(1_700_000_001_000),
    }
}
