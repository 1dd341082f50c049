//! Bearer tokens: compared in constant time, never printed.

use std::fmt;

use super::Invalid;

/// A bearer token. It is compared in constant time and never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// Takes `text` as a token: 16 or more visible ASCII characters. `name` is what it is called in an error.
    pub fn new(name: &str, text: String) -> Result<Self, Invalid> {
        if text.len() < 16 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Invalid::new(
                name,
                "is at least 16 visible ASCII characters",
            ));
        }
        Ok(Self(text))
    }

    /// Whether `shown` is this token. Takes the same time wherever they differ.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let mut difference = u8::from(shown.len() != self.0.len());
        for (index, byte) in self.0.bytes().enumerate() {
            difference |= byte ^ shown.get(index).copied().unwrap_or(0);
        }
        // The optimizer must not find out that a difference, once there, stays.
        std::hint::black_box(difference) == 0
    }

    /// The token itself, to hand on.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn a_token_is_itself_only_and_never_printed() {
        let token = Token::new("token", "0123456789abcdef".to_owned()).unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for other in [
            "",
            "0123456789abcde",
            "0123456789abcdef0",
            "0123456789abcdeF",
        ] {
            assert!(!token.is(other.as_bytes()), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }
}
