//! Output of any bytes as a server-sent event: one frame, one line of data, and the same bytes when it is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_protocol::log::{LogEvent, Output, Stream};
use sandbox_protocol::sse::write_frame;
use sandbox_protocol::time::Timestamp;

fuzz_target!(|printed: &[u8]| {
    let at = Timestamp::parse("2026-01-01T00:00:00.000Z").expect("a time");
    let output = Output::new(printed, "p", at);
    let event = LogEvent::output(Stream::Stdout, output);
    let mut frame = Vec::new();
    write_frame(&mut frame, &"b.1.0.0.0", |out| {
        Ok(serde_json::to_writer(out, &event)?)
    })
    .expect("a vector takes everything");
    let frame = String::from_utf8(frame).expect("a frame is text");
    let data = frame
        .strip_prefix("id: b.1.0.0.0\ndata: ")
        .and_then(|rest| rest.strip_suffix("\n\n"))
        .expect("an id and data");
    assert!(!data.contains(['\n', '\r']), "one line");
    let read: LogEvent<'_> = serde_json::from_str(data).expect("an event");
    let LogEvent::Stdout(output) = read else {
        panic!("another stream");
    };
    assert_eq!(output.bytes().as_deref(), Some(printed));
});
