//! Reading again from any point, under any filter, over any cap.

use proptest::prelude::*;
use sandbox_protocol::cursor::Position;
use sandbox_protocol::error::ErrorCode;
use sandbox_protocol::kept::Kind;
use sandbox_protocol::log::{From, Selection, Stream};
use sandbox_protocol::time::Timestamp;

use super::super::inner::LEDGER_MEMORY_BYTES;
use super::super::ledger::{Found, Sequence, Sizes, Source};
use super::super::{Ledger, Reader, Step};
use super::{Fixture, err, fixture, out, read_now, reader, spilled_to};
use crate::error::Error;

/// What a test writes: a stream, how far the clock goes on, and bytes.
type Write = (Stream, i64, Vec<u8>);

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        "[a-zü🦀\n]{0,40}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 300..700),
    ];
    prop::collection::vec((stream, 0_i64..2, bytes), 0..60)
}

fn selections() -> impl Strategy<Value = Selection> {
    prop_oneof![
        Just(Selection::Both),
        Just(Selection::Stdout),
        Just(Selection::Stderr)
    ]
}

/// The written bytes of the selected streams, in order.
fn written(writes: &[Write], selected: Selection) -> Vec<u8> {
    let chosen = writes.iter().filter(|(stream, ..)| selected.has(*stream));
    chosen.flat_map(|(_, _, bytes)| bytes.clone()).collect()
}

/// What a client has: bytes in their place, `None` where it was told that they are gone.
#[derive(Default)]
struct Client {
    got: Vec<Option<u8>>,
    /// The cursor of the last event.
    last: Option<Position>,
}

impl Client {
    /// Reads until there is nothing more, or `most` events have come.
    async fn read(&mut self, ledger: &Ledger, selected: Selection, most: usize) {
        let from = self
            .last
            .map_or(From::Start, |position| From::After(ledger.cursor(position)));
        let mut reader = ledger.reader(&from, selected).unwrap();
        let mut events = 0;
        while events < most {
            match reader.step().await {
                Step::Gap(bytes) => {
                    assert!(bytes > 0);
                    let gone = usize::try_from(bytes).unwrap();
                    self.got.extend(std::iter::repeat_n(None, gone));
                    self.last = Some(reader.cursor().position);
                    events += 1;
                }
                Step::Entries(batch) => {
                    for entry in batch.entries().take(most - events) {
                        self.got.extend(entry.bytes.iter().map(|byte| Some(*byte)));
                        self.last = Some(entry.after);
                        events += 1;
                    }
                }
                Step::Idle | Step::Ended => return,
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_read_and_what_is_told_gone_is_exactly_what_was_written(
        writes in writes(),
        cap in 100_u64..20_000,
        memory in 200_u64..4_000,
        selected in selections(),
        cuts in prop::collection::vec((0_usize..60, 1_usize..5), 0..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new(1 << 20, memory);
            let ledger = fixture.ledger(cap);
            let mut client = Client::default();
            let mut clock = 0;
            for (index, (stream, ms, bytes)) in writes.iter().enumerate() {
                clock += ms;
                ledger.append(*stream, Timestamp(clock), bytes);
                for (_, events) in cuts.iter().filter(|(at, _)| *at == index) {
                    client.read(&ledger, selected, *events).await;
                }
            }
            client.read(&ledger, selected, usize::MAX).await;
            let written = written(&writes, selected);
            assert_eq!(client.got.len(), written.len());
            for (got, wrote) in client.got.iter().zip(&written) {
                assert!(got.is_none_or(|byte| byte == *wrote));
            }
        });
    }

    #[test]
    fn the_newest_stays_whatever_the_cap(writes in writes(), cap in 100_u64..5_000) {
        let mut sequence = Sequence::new(Sizes::of(cap));
        let mut clock = 0;
        for (stream, ms, bytes) in &writes {
            clock += ms;
            sequence.append(*stream, Timestamp(clock), bytes);
            let (memory, disk) = sequence.bytes();
            prop_assert!(memory + disk <= cap.max(2 * 64), "{memory} of {cap}");
        }
        let kept = sequence.start().bytes_until(sequence.end(), Selection::Both);
        let written = written(&writes, Selection::Both).len() as u64;
        // Three quarters of the cap are output at least where each frame has some; heads are what they are.
        prop_assert!(kept == written || kept > 0);
    }

    #[test]
    fn a_character_is_never_split(texts in prop::collection::vec(("[aü€🦀]{0,400}", 0_i64..2), 0..30), cap in 600_u64..20_000) {
        let mut sequence = Sequence::new(Sizes::of(cap));
        let mut clock = 0;
        for (text, ms) in &texts {
            clock += ms;
            sequence.append(Stream::Stdout, Timestamp(clock), text.as_bytes());
        }
        let mut at = sequence.start();
        while let Found::Frames { source: Source::Memory(frames), end, .. } = sequence.read(at, None) {
            let mut rest = &frames[..];
            while let Some(entry) = sandbox_protocol::kept::next_entry(&mut rest) {
                prop_assert!(std::str::from_utf8(entry.bytes).is_ok());
            }
            at = end;
        }
    }
}

#[tokio::test]
async fn output_of_one_stream_and_millisecond_is_one_entry_and_no_other_is() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    out(&ledger, 1, "a");
    out(&ledger, 1, "b");
    out(&ledger, 2, "c");
    err(&ledger, 2, "d");
    out(&ledger, 2, "e");
    let Step::Entries(batch) = reader(&ledger).step().await else {
        panic!("there are entries");
    };
    let entries: Vec<(&[u8], i64)> = batch
        .entries()
        .map(|entry| (entry.bytes, entry.at.0))
        .collect();
    assert_eq!(entries, [(&b"ab"[..], 1), (b"c", 2), (b"d", 2), (b"e", 2)]);
}

#[tokio::test]
async fn a_reader_in_the_middle_of_an_entry_that_grows_gets_the_rest() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let mut reader = reader(&ledger);
    for letter in ["a", "b", "c"] {
        out(&ledger, 7, letter);
        assert_eq!(read_now(&mut reader).await, (letter.into(), 0));
    }
}

#[tokio::test]
async fn a_filtered_reader_is_not_told_of_a_gap_in_what_it_does_not_read() {
    let fixture = fixture();
    let ledger = fixture.ledger(1000);
    out(&ledger, 0, "first\n");
    let mut reader = ledger.reader(&From::Start, Selection::Stdout).unwrap();
    assert_eq!(read_now(&mut reader).await, (b"first\n".to_vec(), 0));
    for ms in 0..100 {
        err(&ledger, ms, [b'x'; 50]);
    }
    out(&ledger, 100, "last\n");
    assert_eq!(read_now(&mut reader).await, (b"last\n".to_vec(), 0));
}

#[tokio::test]
async fn a_gap_is_told_once_and_its_cursor_is_where_the_rest_begins() {
    let fixture = fixture();
    let ledger = fixture.ledger(1000);
    for ms in 0..100 {
        out(&ledger, ms, [b'x'; 50]);
    }
    let mut first = reader(&ledger);
    let Step::Gap(gone) = first.step().await else {
        panic!("the beginning is gone");
    };
    let (rest, again) = read_now(&mut reader_at(&ledger, &first)).await;
    assert_eq!((gone + rest.len() as u64, again), (5000, 0));
}

fn reader_at(ledger: &Ledger, other: &Reader) -> Reader {
    let from = From::After(other.cursor());
    ledger.reader(&from, Selection::Both).unwrap()
}

#[tokio::test]
async fn what_moved_to_disk_is_read_byte_for_byte() {
    let fixture = fixture();
    let ledger = fixture.ledger(64 << 20);
    let mut expected = Vec::new();
    for ms in 0..3000_u32 {
        let line = ms.to_le_bytes().repeat(500);
        out(&ledger, i64::from(ms), &line);
        expected.extend_from_slice(&line);
    }
    spilled_to(&fixture.store, LEDGER_MEMORY_BYTES).await;
    assert!(ledger.0.sequence().bytes().1 > 1 << 20);
    let mut early = reader(&ledger);
    assert!(read_now(&mut early).await == (expected.clone(), 0));
    // From the middle of an entry that lies on disk.
    let mut position = Position::START;
    position.stdout = 2_000_003;
    let from = From::After(ledger.cursor(position));
    let mut late = ledger.reader(&from, Selection::Both).unwrap();
    assert!(read_now(&mut late).await == (expected.split_off(2_000_003), 0));
}

#[tokio::test]
async fn the_cap_of_all_takes_the_oldest_segment_whosever_it_is() {
    let fixture = Fixture::new(8 << 20, 1 << 20);
    let old = fixture.ledger(64 << 20);
    let young = fixture.store.ledger("q", "boot", 2, 64 << 20);
    for ms in 0..600 {
        out(&old, ms, vec![b'o'; 10_000]);
    }
    spilled_to(&fixture.store, 1 << 20).await;
    for ms in 0..600 {
        out(&young, ms, vec![b'y'; 10_000]);
    }
    let shared = &fixture.store.0;
    let under = old.until(|_| {
        let sum = &shared.memory_bytes;
        let memory = sum.load(std::sync::atomic::Ordering::Relaxed);
        memory + shared.disk_bytes.load(std::sync::atomic::Ordering::Relaxed) <= 8 << 20
    });
    // Each append of the young one asks for relief; the last one's is what is waited for.
    let nudge = async {
        loop {
            out(&young, 1000, "y");
            old.0.changed.notify_waiters();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = under => {}
        () = nudge => {}
        () = tokio::time::sleep(super::LIMIT) => panic!("still over the cap"),
    }
    let (rest, gone) = read_now(&mut reader(&old)).await;
    assert!(gone > 0);
    assert_eq!(rest.len() as u64 + gone, 6_000_000);
    let (_, gone) = read_now(&mut reader(&young)).await;
    assert_eq!(gone, 0);
}

#[tokio::test]
async fn on_a_disk_that_takes_nothing_the_newest_stays_and_the_gap_is_told() {
    let fixture = fixture();
    // The folder is gone, so no segment can be made.
    std::fs::remove_dir(&fixture.store.0.dir).unwrap();
    let ledger = fixture.ledger(64 << 20);
    for ms in 0..1000 {
        out(&ledger, ms, vec![b'x'; 10_000]);
        ledger.0.room().await;
    }
    spilled_to(&fixture.store, LEDGER_MEMORY_BYTES).await;
    let (rest, gone) = read_now(&mut reader(&ledger)).await;
    assert_eq!(rest.len() as u64 + gone, 10_000_000);
    assert!(rest.len() > 256 << 10 && gone > 0);
}

#[tokio::test]
async fn a_cursor_of_another_life_is_stale_and_one_that_was_never_given_out_is_invalid() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    out(&ledger, 0, "abc");
    let good = ledger.end();
    let code = |cursor| match ledger.reader(&From::After(cursor), Selection::Both) {
        Err(Error::Wire(body)) => Some(body.code),
        Err(other) => panic!("{other}"),
        Ok(_) => None,
    };
    assert_eq!(code(good.clone()), None);
    let mut other = good.clone();
    other.incarnation = 2;
    assert_eq!(code(other), Some(ErrorCode::StaleCursor));
    let mut other = good.clone();
    other.boot = "another".into();
    assert_eq!(code(other), Some(ErrorCode::StaleCursor));
    for (stdout, stderr, marks) in [(4, 0, 0), (2, 1, 0), (0, 0, 3)] {
        let mut beyond = good.clone();
        beyond.position = Position {
            stdout,
            stderr,
            marks,
        };
        assert_eq!(code(beyond), Some(ErrorCode::InvalidCursor));
    }
}

#[tokio::test]
async fn the_last_lines_are_counted_over_the_selected_streams() {
    let fixture = fixture();
    let ledger = fixture.ledger(64 << 20);
    for line in 0..100_000 {
        out(&ledger, line, format!("out {line}\n"));
        err(&ledger, line, format!("err {line}\n"));
    }
    out(&ledger, 200_000, "prompt> ");
    let tail = async |lines, selected| {
        let mut reader = ledger.reader(&From::Tail(lines), selected).unwrap();
        let (bytes, gone) = read_now(&mut reader).await;
        assert_eq!(gone, 0);
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(tail(0, Selection::Both).await, "");
    assert_eq!(tail(1, Selection::Both).await, "prompt> ");
    assert_eq!(tail(1, Selection::Stderr).await, "err 99999\n");
    assert_eq!(
        tail(3, Selection::Stdout).await,
        "out 99998\nout 99999\nprompt> "
    );
    assert_eq!(
        tail(50_001, Selection::Stdout).await.lines().next(),
        Some("out 50000")
    );
    assert_eq!(
        tail(1_000_000, Selection::Both).await.lines().count(),
        200_001
    );
    assert_eq!(
        ledger.tail_lines(2).await,
        ["err 99999".to_owned(), "prompt> ".to_owned()]
    );
}

#[tokio::test]
async fn nothing_comes_after_the_end_and_what_would_is_counted() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    out(&ledger, 0, "before");
    ledger.mark(&super::exit(0));
    let end = ledger.end();
    out(&ledger, 1, "after");
    ledger.mark(&super::exit(1));
    assert_eq!((ledger.end(), ledger.late_bytes()), (end, 5));
    let mut reader = reader(&ledger);
    let Step::Entries(batch) = reader.step().await else {
        panic!("there are entries");
    };
    let kinds: Vec<Kind> = batch.entries().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Output(Stream::Stdout), Kind::Mark]);
    assert!(matches!(reader.step().await, Step::Ended));
    assert!(reader.is_spent());
}
