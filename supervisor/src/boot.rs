//! A boot of the supervisor: its id, and the mark that it leaves in its container.

use std::fmt;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;

/// The name of one boot: 26 random letters and digits. Another one means another container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootId(String);

impl BootId {
    /// A fresh id, 130 bits from the kernel.
    pub fn random() -> io::Result<Self> {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = [0; 26];
        rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())?;
        let symbol = |byte: u8| char::from(ALPHABET[usize::from(byte & 31)]);
        Ok(Self(bytes.into_iter().map(symbol).collect()))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Leaves the mark of a start in `state_dir` and tells whether it was the first one there.
///
/// Docker's `on-failure` policy starts a crashed first process again in the same container, behind the back
/// of whoever started it. Its processes and logs are gone, so it must not pass for the sandbox that was.
pub fn is_first_in(state_dir: &Path) -> io::Result<bool> {
    let mark = state_dir.join("started");
    match OpenOptions::new().write(true).create_new(true).open(mark) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{BootId, is_first_in};

    #[test]
    fn an_id_is_alphanumeric_and_its_own() {
        let (one, other) = (BootId::random().unwrap(), BootId::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 26);
        assert!(one.as_str().bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn the_second_start_in_a_folder_knows_that_it_is_one() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_first_in(folder.path()).unwrap());
        assert!(!is_first_in(folder.path()).unwrap());
    }
}
