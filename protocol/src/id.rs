//! The names that clients choose or are given, checked where they enter.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

/// The rule of a sandbox id, in words for an error message.
pub const SANDBOX_ID_RULE: &str = "a sandbox id is a DNS label: 1 to 63 of a-z, 0-9 and '-', neither starting nor ending with '-'";

/// The rule of a process or build id, in words for an error message.
pub const PROCESS_ID_RULE: &str = "an id is 1 to 64 of A-Z, a-z, 0-9, '_' and '-'";

macro_rules! id {
    ($(#[doc = $doc:literal])* $name:ident, $rule:expr, $check:expr) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes `text` if it follows the rule.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let check: fn(&[u8]) -> bool = $check;
                check(text.as_bytes()).then(|| Self(text.to_owned()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| de::Error::custom($rule))
            }
        }
    };
}

id!(
    /// The name of a sandbox, and so of its object and its container.
    SandboxId,
    SANDBOX_ID_RULE,
    |id| {
        let inner = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
        matches!(id.len(), 1..=63)
            && id.iter().all(inner)
            && id.first() != Some(&b'-')
            && id.last() != Some(&b'-')
    }
);

id!(
    /// The name of a process; not the operating system's pid. A build and its process share one.
    ProcessId,
    PROCESS_ID_RULE,
    |id| {
        matches!(id.len(), 1..=64)
            && id
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    }
);

/// The name of a build, and of the process that it runs.
pub type BuildId = ProcessId;

#[cfg(test)]
mod tests {
    use super::{ProcessId, SandboxId};

    #[test]
    fn a_sandbox_id_is_a_dns_label() {
        for good in ["a", "0", "my-sandbox", "a--b", &"x".repeat(63)] {
            assert!(SandboxId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a.b", "ä", "a b", &"x".repeat(64)] {
            assert!(SandboxId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_process_id_is_at_most_64_word_characters() {
        for good in ["a", "A_b-9", &"x".repeat(64)] {
            assert!(ProcessId::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a/b", "a.b", "é", &"x".repeat(65)] {
            assert!(ProcessId::parse(bad).is_none(), "{bad}");
        }
    }
}
