//! Signals by name or number, as Linux numbers them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A signal of Linux, 1 to 64; on the wire its name (`SIGTERM`), and read from a name or a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signal(u8);

/// The names of 1 to 31 on every architecture that this runs on (signal(7), the column of x86 and ARM).
pub(crate) const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

impl Signal {
    /// Ends whoever has lost the terminal.
    pub const HUP: Self = Self(1);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Quit from the keyboard.
    pub const QUIT: Self = Self(3);
    /// Kill, which cannot be caught.
    pub const KILL: Self = Self(9);
    /// Terminate.
    pub const TERM: Self = Self(15);
    /// Continue what is stopped.
    pub const CONT: Self = Self(18);

    /// The signal with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "1 to 64"
        )]
        if number >= 1 && number <= 64 {
            Some(Self(number as u8))
        } else {
            None
        }
    }

    /// The signal of this name, with or without `SIG`; `SIGRTMIN+n` counts from 34, as libc does.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let short = name.strip_prefix("SIG").unwrap_or(name);
        if let Some(offset) = short.strip_prefix("RTMIN") {
            let offset = match offset.strip_prefix('+') {
                // `parse` would take a second sign.
                Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    digits.parse().ok()?
                }
                None if offset.is_empty() => 0,
                _ => return None,
            };
            return (0..=30)
                .contains(&offset)
                .then(|| Self::from_number(34 + offset))?;
        }
        let index = NAMES.iter().position(|known| *known == short)?;
        Self::from_number(i32::try_from(index).ok()? + 1)
    }

    /// The number that the kernel knows it by.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0 as i32
    }

    /// How long a kill waits for the tree by default: 5 s after a request to terminate, nothing after
    /// SIGKILL, and for any other signal `None`: deliver it and do not wait.
    #[must_use]
    pub const fn default_grace_ms(self) -> Option<u64> {
        match self {
            Self::TERM | Self::INT | Self::QUIT => Some(5000),
            Self::KILL => Some(0),
            _ => None,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 >= 34 => write!(f, "SIGRTMIN+{}", self.0 - 34),
            None => write!(f, "SIG{}", self.0),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl de::Visitor<'_> for NameOrNumber {
            type Value = Signal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a signal by name (\"SIGTERM\") or number (1 to 64)")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Signal, E> {
                Signal::from_name(name)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Signal, E> {
                i32::try_from(number)
                    .ok()
                    .and_then(Signal::from_number)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Signal, E> {
                Err(E::invalid_value(de::Unexpected::Signed(number), &self))
            }
        }
        deserializer.deserialize_any(NameOrNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::Signal;

    #[test]
    fn every_number_is_read_back_from_its_name() {
        for signal in (1..=64).filter_map(Signal::from_number) {
            let named = signal.number() < 32 || signal.number() > 33;
            assert_eq!(
                Signal::from_name(&signal.to_string()),
                named.then_some(signal),
                "{signal}"
            );
        }
    }

    #[test]
    fn a_name_needs_no_prefix_and_a_number_must_exist() {
        assert_eq!(Signal::from_name("TERM"), Some(Signal::TERM));
        for bad in [
            "0",
            "65",
            "-1",
            "\"SIGNOPE\"",
            "\"RTMIN++1\"",
            "\"\"",
            "true",
        ] {
            assert!(serde_json::from_str::<Signal>(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::from_str::<Signal>("9").unwrap(), Signal::KILL);
    }
}
