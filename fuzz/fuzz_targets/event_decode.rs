//! Events as a client of the library reads them: read or refused; what is read can be written and is the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_protocol::log::LogEvent;

fuzz_target!(|line: &[u8]| {
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
