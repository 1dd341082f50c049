//! Output of any bytes as server-sent events: an `EventSource` that is not ours reads the same bytes, however the
//! frames are cut on their way.

#![no_main]

use eventsource_stream::Eventsource;
use futures_util::{FutureExt, StreamExt, stream};
use libfuzzer_sys::fuzz_target;
use sandbox_protocol::log::{LogEvent, Output, Stream};
use sandbox_protocol::sse::{HEARTBEAT, write_frame};
use sandbox_protocol::time::Timestamp;

fuzz_target!(|case: (Vec<Vec<u8>>, u8)| {
    let (printed, cut) = case;
    let at = Timestamp::parse("2026-01-01T00:00:00.000Z").expect("a time");
    let mut frames = Vec::new();
    for (number, bytes) in printed.iter().enumerate() {
        let event = LogEvent::output(Stream::Stdout, Output::new(bytes, "p", at));
        write_frame(&mut frames, &number, |out| {
            Ok(serde_json::to_writer(out, &event)?)
        })
        .expect("a vector takes everything");
        frames.extend_from_slice(HEARTBEAT);
    }
    let pieces = frames.chunks(usize::from(cut) + 1);
    let pieces = pieces.map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
    let read = stream::iter(pieces).eventsource().collect::<Vec<_>>();
    let read = read.now_or_never().expect("all of it is there");
    assert_eq!(read.len(), printed.len(), "a comment is no event");
    for ((number, bytes), event) in printed.iter().enumerate().zip(read) {
        let event = event.expect("a frame is text");
        assert_eq!(event.id, number.to_string());
        let LogEvent::Stdout(output) = serde_json::from_str(&event.data).expect("an event") else {
            panic!("another stream");
        };
        assert_eq!(output.bytes().as_deref(), Some(bytes.as_slice()));
    }
});
