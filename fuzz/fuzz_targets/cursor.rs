//! Cursors: read or refused; one that is read is written so that it is read as the same, and its sums hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sandbox_protocol::cursor::Cursor;

fuzz_target!(|text: &str| {
    if let Some(cursor) = Cursor::parse(text) {
        assert_eq!(Cursor::parse(&cursor.to_string()).as_ref(), Some(&cursor));
        assert!(cursor.position.sequence() >= cursor.position.marks);
    }
});
