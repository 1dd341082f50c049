//! Reading pipes.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sandbox_protocol::log::{From, Selection, Stream};

use super::super::{Capture, Ledger, Step};
use super::{LIMIT, exit, fixture, read_now, reader};

fn pipe(ledger: &Ledger) -> (std::io::PipeWriter, Capture) {
    let (read, write) = std::io::pipe().unwrap();
    let capture = Capture::start(OwnedFd::from(read), Stream::Stdout, ledger.clone()).unwrap();
    (write, capture)
}

/// The next output that comes, and whether it is text.
async fn next(reader: &mut super::Reader) -> Vec<u8> {
    let next = async {
        loop {
            match reader.step().await {
                Step::Entries(batch) => {
                    return batch
                        .entries()
                        .flat_map(|entry| entry.bytes.to_vec())
                        .collect();
                }
                Step::Idle => reader.more().await,
                step => panic!("{step:?}"),
            }
        }
    };
    tokio::time::timeout(LIMIT, next).await.unwrap()
}

#[tokio::test]
async fn a_prompt_without_a_line_end_comes_at_once() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let (mut write, _capture) = pipe(&ledger);
    let mut reader = reader(&ledger);
    write.write_all(b"password: ").unwrap();
    assert_eq!(next(&mut reader).await, b"password: ");
}

#[tokio::test]
async fn a_character_that_comes_in_two_parts_is_one() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let (mut write, _capture) = pipe(&ledger);
    let mut reader = reader(&ledger);
    let crab = "🦀".as_bytes();
    write.write_all(b"a").unwrap();
    write.write_all(&crab[..2]).unwrap();
    let first = next(&mut reader).await;
    write.write_all(&crab[2..]).unwrap();
    let mut got = first.clone();
    while got.len() < 5 {
        got.extend(next(&mut reader).await);
    }
    // Where the test itself was held up for longer than a beginning is, it came in two; it is whole anyhow.
    assert_eq!(got, "a🦀".as_bytes());
    assert_eq!(first[0], b'a');
}

#[tokio::test]
async fn the_beginning_of_a_character_that_does_not_go_on_comes_after_all() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let (mut write, _capture) = pipe(&ledger);
    let mut reader = reader(&ledger);
    write.write_all(&[0xf0, 0x9f]).unwrap();
    assert_eq!(next(&mut reader).await, [0xf0, 0x9f]);
}

#[tokio::test]
async fn bytes_of_any_kind_come_through_unchanged() {
    let fixture = fixture();
    let ledger = fixture.ledger(64 << 20);
    let (mut write, capture) = pipe(&ledger);
    let mut state = 7_u64;
    let noise: Vec<u8> = (0..3_000_000)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .collect();
    let copy = noise.clone();
    let writer = std::thread::spawn(move || write.write_all(&copy).unwrap());
    capture.finish(LIMIT).await;
    writer.join().unwrap();
    assert!(read_now(&mut reader(&ledger)).await == (noise, 0));
}

#[tokio::test]
async fn a_descendant_that_keeps_the_pipe_does_not_hold_up_the_end() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let (mut write, capture) = pipe(&ledger);
    write.write_all(b"last words").unwrap();
    tokio::time::timeout(LIMIT, capture.finish(Duration::from_millis(10)))
        .await
        .unwrap();
    ledger.mark(&exit(0));
    let (bytes, _) = read_now(&mut reader(&ledger)).await;
    assert_eq!(bytes, b"last words");
    // It can go on writing, more than a pipe holds, and nobody hears it.
    let writing = tokio::task::spawn_blocking(move || write.write_all(&vec![b'x'; 3 << 20]));
    let written = tokio::time::timeout(LIMIT, writing).await;
    written.unwrap().unwrap().unwrap();
    let mut reader = ledger
        .reader(&From::After(ledger.end()), Selection::Both)
        .unwrap();
    assert!(matches!(reader.step().await, Step::Ended));
}
