//! Events as a client reads them, alone and in the lines of the library's stream: read or refused; what is read
//! can be written and is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_protocol::log::LogEvent;
use serde::Deserialize;

/// A line of NDJSON, as the library has it.
#[derive(Deserialize)]
struct Line {
    cursor: String,
    #[serde(flatten)]
    event: LogEvent<'static>,
}

fuzz_target!(|line: &[u8]| {
    if let Ok(Line { cursor, event }) = serde_json::from_slice(line) {
        let mut object = serde_json::to_value(&event).expect("an event can be written");
        object["cursor"] = cursor.clone().into();
        let again: Line = serde_json::from_value(object).expect("and read again");
        assert_eq!((again.cursor, again.event), (cursor, event));
    }
    let Ok(event) = serde_json::from_slice::<LogEvent<'_>>(line) else {
        return;
    };
    if let LogEvent::Stdout(output) | LogEvent::Stderr(output) = &event {
        drop(output.bytes());
    }
    let text = serde_json::to_string(&event).expect("an event can be written");
    assert_eq!(
        serde_json::from_str::<LogEvent<'_>>(&text).expect("and read again"),
        event
    );
});
