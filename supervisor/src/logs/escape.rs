//! Text as the inside of a JSON string, fast.

/// Appends `text` with what JSON does not allow in a string escaped, as `serde_json` does it.
///
/// Output is mostly long runs without any such byte, so runs are found eight bytes at a time and copied whole.
pub(super) fn escape(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    // One escape in sixteen bytes fits without growing; lines of code are longer.
    out.reserve(rest.len() + rest.len() / 16);
    loop {
        let run = plain(rest);
        out.extend_from_slice(&rest[..run]);
        let Some(&byte) = rest.get(run) else { return };
        escape_byte(out, byte);
        rest = &rest[run + 1..];
    }
}

/// How many bytes from the beginning need no escape.
fn plain(bytes: &[u8]) -> usize {
    let mut index = 0;
    while let Some(word) = bytes.get(index..).and_then(<[u8]>::first_chunk::<8>) {
        match special(u64::from_le_bytes(*word)) {
            0 => index += 8,
            marks => return index + marks.trailing_zeros() as usize / 8,
        }
    }
    let rest = &bytes[index..];
    let special = rest.iter().position(|byte| needs_escape(*byte));
    index + special.unwrap_or(rest.len())
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The high bit of each byte of `word` that needs an escape. Exact up to and including the first one, which
/// is all that is asked for: a borrow only runs upwards.
const fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let control = word.wrapping_sub(0x20 * ONES) & !word;
    let quote = word ^ (b'"' as u64 * ONES);
    let backslash = word ^ (b'\\' as u64 * ONES);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    (control | quote | backslash) & HIGH
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'\n' => b'n',
        b'"' => b'"',
        b'\\' => b'\\',
        b'\t' => b't',
        b'\r' => b'r',
        0x08 => b'b',
        0x0c => b'f',
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::escape;

    fn escaped(text: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, text);
        format!("\"{}\"", std::str::from_utf8(&out).unwrap())
    }

    proptest! {
        #[test]
        fn is_what_the_library_writes(text in prop::collection::vec(prop_oneof![any::<char>(), prop::char::range('\0', '\u{7f}')], 0..80)) {
            let text: String = text.into_iter().collect();
            prop_assert_eq!(escaped(&text), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn every_byte_is_escaped_at_every_place_of_a_word() {
        for byte in 0..0x80_u8 {
            for place in 0..9 {
                let mut text = "a".repeat(17);
                text.replace_range(place..=place, &char::from(byte).to_string());
                assert_eq!(escaped(&text), serde_json::to_string(&text).unwrap());
            }
        }
    }
}
