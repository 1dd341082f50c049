//! Many readers of one ledger.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sandbox_protocol::error::ErrorCode;

use super::super::{Form, MAX_FOLLOWERS, stream};
use super::{LIMIT, exit, fixture, out, reader};
use crate::error::Error;

async fn length(frames: impl Stream<Item = Result<Bytes, Infallible>>) -> usize {
    let mut frames = pin!(frames);
    let mut length = 0;
    while let Some(frame) = frames.next().await {
        let Ok(frame) = frame;
        length += frame.len();
    }
    length
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_followers_get_everything_though_one_does_not_read() {
    const LINES: i64 = 20_000;
    let fixture = fixture();
    let ledger = fixture.ledger(64 << 20);
    let follow = || {
        let follower = ledger.follower().unwrap();
        let form = Form::Plain { timestamps: false };
        stream(reader(&ledger), form, Some(follower), LIMIT)
    };
    let stuck = follow();
    let readers: Vec<_> = (1..200).map(|_| tokio::spawn(length(follow()))).collect();
    for line in 0..LINES {
        out(&ledger, line / 100, [b'x'; 100]);
        if line % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    ledger.mark(&exit(0));
    for reader in readers {
        let length = tokio::time::timeout(LIMIT, reader).await.unwrap().unwrap();
        assert_eq!(length, 2_000_000);
    }
    assert_eq!(length(stuck).await, 2_000_000);
}

#[tokio::test]
async fn a_follower_beyond_the_limit_is_refused_by_its_name_until_one_leaves() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let mut followers: Vec<_> = (0..MAX_FOLLOWERS)
        .map(|_| ledger.follower().unwrap())
        .collect();
    let Err(Error::Wire(body)) = ledger.follower() else {
        panic!("one too many");
    };
    assert_eq!(body.code, ErrorCode::TooManySubscribers);
    assert_eq!(body.context.limit.as_deref(), Some("processSubscribers"));
    assert_eq!(body.context.limit_value, Some(MAX_FOLLOWERS));
    followers.pop();
    assert!(ledger.follower().is_ok());
}

#[tokio::test]
async fn the_limit_of_all_holds_over_ledgers() {
    let mut ledgers = Vec::new();
    let fixture = fixture();
    let mut followers = Vec::new();
    while followers.len() < 1000 {
        let ledger = fixture.ledger(1 << 20);
        for _ in 0..100 {
            followers.push(ledger.follower().unwrap());
        }
        ledgers.push(ledger);
    }
    let Err(Error::Wire(body)) = ledgers[0].follower() else {
        panic!("one too many");
    };
    assert_eq!(body.context.limit.as_deref(), Some("subscribers"));
    drop(followers);
    assert!(ledgers[0].follower().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_has_a_comment_and_ends_without_an_exit_that_nobody_saw() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let follower = ledger.follower().unwrap();
    let heartbeat = Duration::from_secs(10);
    let mut frames = pin!(stream(
        reader(&ledger),
        Form::EventStream,
        Some(follower),
        heartbeat
    ));
    for _ in 0..3 {
        let Some(Ok(frame)) = frames.next().await else {
            panic!("it goes on");
        };
        assert_eq!(&frame[..], b": heartbeat\n\n");
    }
    out(&ledger, 0, "last words");
    fixture.store.close();
    let Some(Ok(frame)) = frames.next().await else {
        panic!("what is there comes first");
    };
    assert!(frame.windows(10).any(|window| window == b"last words"));
    drop(frame);
    assert!(frames.next().await.is_none());
}
