//! What goes over the wire, byte for byte.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::GzDecoder;
use futures_util::{Stream, StreamExt};
use sandbox_protocol::cursor::Cursor;
use sandbox_protocol::kept::{Kind, next_entry};
use sandbox_protocol::log::{From, LogEvent, Logs, Output, Selection};
use sandbox_protocol::time::Timestamp;

use super::super::{Form, Ledger, piece, snapshot, stream};
use super::{err, exit, fixture, out, reader};

async fn text(frames: impl Stream<Item = Result<Bytes, Infallible>>) -> String {
    let mut frames = pin!(frames);
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = frames.next().await {
        bytes.extend_from_slice(&frame);
    }
    String::from_utf8(bytes).unwrap()
}

async fn form(ledger: &Ledger, form: Form) -> String {
    let reader = reader(ledger).until_now();
    text(stream(reader, form, None, Duration::from_secs(10))).await
}

fn example(ledger: &Ledger) {
    out(
        ledger,
        1_700_000_000_123,
        "two\nlines \"quoted\" \u{1b}[0m\r",
    );
    err(ledger, 1_700_000_000_124, "grün");
    out(ledger, 1_700_000_000_125, [0xff, 0x00]);
    ledger.mark(&exit(0));
}

#[tokio::test]
async fn events_have_the_cursor_after_them_as_their_id() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    example(&ledger);
    let expected = "\
id: boot.1.24.0.0\n\
data: {\"type\":\"stdout\",\"data\":\"two\\nlines \\\"quoted\\\" \\u001b[0m\\r\",\"processId\":\"p\",\"timestamp\":\"2023-11-14T22:13:20.123Z\"}\n\n\
id: boot.1.24.5.0\n\
data: {\"type\":\"stderr\",\"data\":\"grün\",\"processId\":\"p\",\"timestamp\":\"2023-11-14T22:13:20.124Z\"}\n\n\
id: boot.1.26.5.0\n\
data: {\"type\":\"stdout\",\"data\":\"/wA=\",\"encoding\":\"base64\",\"processId\":\"p\",\"timestamp\":\"2023-11-14T22:13:20.125Z\"}\n\n\
id: boot.1.26.5.1\n\
data: {\"type\":\"exit\",\"exitCode\":0,\"signal\":null,\"reason\":\"exited\",\"data\":\"exited with code 0\",\"processId\":\"p\",\"timestamp\":\"2023-11-14T22:13:21.000Z\"}\n\n";
    assert_eq!(form(&ledger, Form::EventStream).await, expected);
}

#[tokio::test]
async fn lines_of_json_are_the_same_events_with_their_cursor() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    example(&ledger);
    let events = form(&ledger, Form::EventStream).await;
    let lines = form(&ledger, Form::Ndjson).await;
    let frames = events.split_terminator("\n\n");
    assert_eq!(lines.lines().count(), 4);
    for (frame, line) in frames.zip(lines.lines()) {
        let (id, data) = frame.split_once('\n').unwrap();
        let mut event: serde_json::Value =
            serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        event["cursor"] = id.strip_prefix("id: ").unwrap().into();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(line).unwrap(),
            event
        );
    }
}

#[tokio::test]
async fn output_is_written_as_the_types_write_it() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    let every: String = (0..=0x7f_u8).map(char::from).collect();
    out(&ledger, 5, &every);
    let output = Output::new(every.as_bytes(), "p", Timestamp(5));
    let json = serde_json::to_string(&LogEvent::Stdout(output)).unwrap();
    let expected = format!("id: boot.1.128.0.0\ndata: {json}\n\n");
    assert_eq!(form(&ledger, Form::EventStream).await, expected);
}

#[tokio::test]
async fn a_gap_is_an_event_whose_id_is_where_the_rest_begins() {
    let fixture = fixture();
    let ledger = fixture.ledger(1000);
    for ms in 0..100 {
        out(&ledger, ms, [b'x'; 50]);
    }
    let events = form(&ledger, Form::EventStream).await;
    let (id, rest) = events
        .strip_prefix("id: ")
        .unwrap()
        .split_once('\n')
        .unwrap();
    let cursor = Cursor::parse(id).unwrap();
    let data = rest.strip_prefix("data: ").unwrap().lines().next().unwrap();
    let event: LogEvent<'_> = serde_json::from_str(data).unwrap();
    let LogEvent::Truncated { bytes, .. } = event else {
        panic!("{data}");
    };
    assert_eq!(bytes, cursor.position.stdout);
    assert_eq!(bytes + rest.matches('x').count() as u64, 5000);
}

#[tokio::test]
async fn plain_text_is_the_bytes_and_may_have_the_time_at_the_start_of_lines() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    out(&ledger, 1_000, "a");
    out(&ledger, 2_000, "b\nc\n");
    err(&ledger, 3_000, "d");
    ledger.mark(&exit(0));
    let plain = |timestamps| Form::Plain { timestamps };
    assert_eq!(form(&ledger, plain(false)).await, "ab\nc\nd");
    assert_eq!(
        form(&ledger, plain(true)).await,
        "1970-01-01T00:00:01.000Z ab\n1970-01-01T00:00:02.000Z c\n1970-01-01T00:00:03.000Z d"
    );
}

#[tokio::test]
async fn json_has_both_streams_and_where_to_go_on() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    example(&ledger);
    let logs = async |selected| {
        let reader = ledger.reader(&From::Start, selected).unwrap();
        let json = text(snapshot(reader).await).await;
        serde_json::from_str::<Logs>(&json).unwrap()
    };
    let both = Logs {
        process_id: "p".into(),
        stdout: "two\nlines \"quoted\" \u{1b}[0m\r\u{fffd}\0".into(),
        stderr: "grün".into(),
        cursor: "boot.1.26.5.1".into(),
        truncated: false,
    };
    assert_eq!(logs(Selection::Both).await, both);
    let only = Logs {
        stdout: String::new(),
        ..both
    };
    assert_eq!(logs(Selection::Stderr).await, only);
}

#[tokio::test]
async fn json_says_that_older_output_was_dropped() {
    let fixture = fixture();
    let ledger = fixture.ledger(1000);
    for ms in 0..100 {
        out(&ledger, ms, [b'x'; 50]);
    }
    let json = text(snapshot(reader(&ledger)).await).await;
    let logs: Logs = serde_json::from_str(&json).unwrap();
    assert!(logs.truncated && logs.stdout.len() < 1000);
}

/// The entries of a piece.
fn entries(gzip: &[u8]) -> Vec<(Kind, i64, Vec<u8>)> {
    let mut frames = Vec::new();
    std::io::copy(&mut GzDecoder::new(gzip), &mut frames).unwrap();
    let mut rest = &frames[..];
    let mut entries = Vec::new();
    while let Some(entry) = next_entry(&mut rest) {
        entries.push((entry.kind, entry.at.0, entry.bytes.to_vec()));
    }
    assert!(rest.is_empty());
    entries
}

#[tokio::test]
async fn kept_pieces_follow_each_other_without_a_hole_and_stay_small() {
    let fixture = fixture();
    let ledger = fixture.ledger(64 << 20);
    let mut state = 1_u32;
    let mut expected = Vec::new();
    for ms in 0..100 {
        let noise: Vec<u8> = (0..50_000)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            })
            .collect();
        out(&ledger, ms, &noise);
        expected.extend_from_slice(&noise);
    }
    ledger.mark(&exit(0));
    let mut from = From::Start;
    let (mut read, mut marks, mut at) = (Vec::new(), 0, None);
    loop {
        let reader = ledger.reader(&from, Selection::Both).unwrap();
        let piece = ledger.piece(reader, None, u64::MAX).await.unwrap();
        assert!(piece.gzip.len() <= 1 << 20, "{}", piece.gzip.len());
        assert!(at.is_none_or(|at| at == piece.from));
        for (kind, _, bytes) in entries(&piece.gzip) {
            match kind {
                Kind::Mark => marks += 1,
                Kind::Output(_) => read.extend(bytes),
            }
        }
        at = Some(piece.to.clone());
        from = From::After(piece.to.clone());
        if piece.to == piece.end {
            break;
        }
    }
    assert!(read == expected);
    assert_eq!(marks, 1);
    let reader = ledger.reader(&from, Selection::Both).unwrap();
    let empty = piece(reader, None, u64::MAX).unwrap();
    assert_eq!(empty.from, empty.end);
    assert!(entries(&empty.gzip).is_empty());
}

#[tokio::test]
async fn a_kept_piece_of_the_newest_begins_between_two_characters() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    out(&ledger, 0, "ö".repeat(1000));
    let newest = |bytes| {
        let piece = piece(reader(&ledger), Some(bytes), u64::MAX).unwrap();
        let text: Vec<u8> = entries(&piece.gzip)
            .into_iter()
            .flat_map(|(_, _, bytes)| bytes)
            .collect();
        assert_eq!(2000 - piece.from.position.stdout, text.len() as u64);
        String::from_utf8(text).unwrap()
    };
    assert_eq!(newest(4), "öö");
    assert_eq!(newest(5), "öö");
    assert_eq!(newest(0), "");
    assert_eq!(newest(10_000).len(), 2000);
}

#[tokio::test]
async fn a_piece_may_be_bounded_before_compression() {
    let fixture = fixture();
    let ledger = fixture.ledger(1 << 20);
    for ms in 0..10 {
        out(&ledger, ms, "0123456789");
    }
    let reader = reader(&ledger);
    let piece = piece(reader, None, 40).unwrap();
    assert_eq!(entries(&piece.gzip).len(), 2);
    assert_eq!(piece.to.position.stdout, 20);
}
