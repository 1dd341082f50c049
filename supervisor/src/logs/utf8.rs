//! Where bytes may be cut without splitting a character.

/// The longest prefix of `bytes` of at most `max` bytes that ends between two characters. Bytes that are no
/// UTF-8 may be cut anywhere.
pub(super) fn floor(bytes: &[u8], max: usize) -> usize {
    if bytes.len() <= max {
        return bytes.len();
    }
    max - incomplete(&bytes[..max])
}

/// How many bytes at the end of `bytes` begin a character that is not complete: 0 to 3.
pub(super) fn incomplete(bytes: &[u8]) -> usize {
    let from = bytes.len().saturating_sub(3);
    let lead = bytes[from..].iter().rposition(|byte| byte & 0xc0 != 0x80);
    let Some(lead) = lead else { return 0 };
    let begun = &bytes[from + lead..];
    // `error_len` is `None` exactly where more bytes could complete what is there.
    match std::str::from_utf8(begun) {
        Err(error) if error.valid_up_to() == 0 && error.error_len().is_none() => begun.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{floor, incomplete};

    proptest! {
        #[test]
        fn text_is_cut_between_characters_and_loses_less_than_one(text in "\\PC{0,40}", max in 0_usize..160) {
            let cut = floor(text.as_bytes(), max);
            prop_assert!(text.is_char_boundary(cut));
            prop_assert!(cut == text.len() || cut + 4 > max);
        }

        #[test]
        fn any_bytes_are_cut_near_the_bound(bytes in prop::collection::vec(any::<u8>(), 1..40), max in 0_usize..60) {
            let cut = floor(&bytes, max);
            prop_assert!(cut <= max && cut + 3 >= max.min(bytes.len()));
        }
    }

    #[test]
    fn what_no_byte_can_complete_is_not_held() {
        assert_eq!(incomplete("grü".as_bytes()), 0);
        assert_eq!(incomplete(&"grü".as_bytes()[..3]), 1);
        assert_eq!(incomplete(&"🦀".as_bytes()[..3]), 3);
        assert_eq!(incomplete(&[0xff]), 0);
        assert_eq!(incomplete(&[0x80, 0x80, 0x80, 0x80]), 0);
        // A surrogate and an overlong form are no beginning of anything.
        assert_eq!(incomplete(&[0xed, 0xa0]), 0);
        assert_eq!(incomplete(&[0xc0]), 0);
    }
}
