//! Server-sent events: the frames that we write.

use std::io::{self, Write};

/// A comment that keeps a quiet stream alive and finds out a dead client. It is no event, so it moves no
/// `Last-Event-ID`.
pub const HEARTBEAT: &[u8] = b": heartbeat\n\n";

/// Writes one frame. `data` is one line of JSON, `id` a cursor; neither has a line break.
pub fn write_frame(
    out: &mut impl Write,
    id: &impl std::fmt::Display,
    data: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    write!(out, "id: {id}\ndata: ")?;
    data(out)?;
    out.write_all(b"\n\n")
}

#[cfg(test)]
mod tests {
    use super::write_frame;

    #[test]
    fn a_frame_is_an_id_a_data_line_and_an_empty_line() {
        let mut out = Vec::new();
        write_frame(&mut out, &"b.1.2.0.0", |out| out.write_all(b"{}")).unwrap();
        assert_eq!(out, b"id: b.1.2.0.0\ndata: {}\n\n");
    }
}
