//! What the kernel is to execute, and how it crosses from the supervisor to a shim.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsString};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{Gid, Uid};
use sandbox_protocol::process::Limits;

/// One execution: words, variables, folder and user. The descriptors travel beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// The words; the first is looked up in the `PATH` of `env` unless it has a slash.
    pub argv: Vec<String>,
    /// The whole environment, nothing is added to it.
    pub env: BTreeMap<OsString, OsString>,
    /// The working directory, entered as the user that the process runs as.
    pub cwd: String,
    /// Whom it runs as; `None` is whoever runs the supervisor.
    pub identity: Option<Identity>,
    /// What its tree may use. The supervisor sees to that, so it is not encoded.
    pub limits: Limits,
}

/// The ids of a user, as the kernel knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

impl Launch {
    /// Writes it as fields that each end in NUL: the ids, the folder, the number of words, the words, the
    /// variables. No field has a NUL inside: requests are checked for it, and the environment cannot.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        if let Some(identity) = &self.identity {
            let ids = [identity.uid, identity.gid];
            for id in ids.iter().chain(&identity.groups) {
                out.extend_from_slice(format!("{id} ").as_bytes());
            }
        }
        out.push(0);
        push(&mut out, self.cwd.as_bytes());
        push(&mut out, self.argv.len().to_string().as_bytes());
        for word in &self.argv {
            push(&mut out, word.as_bytes());
        }
        for (name, value) in &self.env {
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            push(&mut out, value.as_bytes());
        }
        out
    }
}

fn push(out: &mut Vec<u8>, field: &[u8]) {
    out.extend_from_slice(field);
    out.push(0);
}

/// A [`Launch`] as a shim reads it: borrowed from the bytes that came, ready for the kernel.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    /// The words; at least one.
    pub(super) argv: Vec<&'a CStr>,
    /// The variables, `NAME=value`.
    pub(super) env: Vec<&'a CStr>,
    /// The working directory.
    pub(super) cwd: &'a CStr,
    /// User, group and supplementary groups to change to.
    pub(super) identity: Option<Ids>,
}

/// A user, the primary group, the supplementary groups.
pub(super) type Ids = (Uid, Gid, Vec<Gid>);

impl<'a> Prepared<'a> {
    /// Reads what [`Launch::encode`] wrote; `None` if it is something else.
    pub(super) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = bytes
            .split_inclusive(|byte| *byte == 0)
            .map(|field| CStr::from_bytes_with_nul(field).ok());
        let ids = fields.next()??.to_str().ok()?;
        let ids: Vec<u32> = ids
            .split_ascii_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let identity = match ids.as_slice() {
            [] => None,
            [uid, gid, groups @ ..] => {
                let groups = groups.iter().copied().map(Gid::from_raw).collect();
                Some((Uid::from_raw(*uid), Gid::from_raw(*gid), groups))
            }
            [_] => return None,
        };
        let cwd = fields.next()??;
        let words: usize = fields.next()??.to_str().ok()?.parse().ok()?;
        let argv = fields
            .by_ref()
            .take(words)
            .collect::<Option<Vec<&CStr>>>()?;
        let env = fields.collect::<Option<Vec<&CStr>>>()?;
        (argv.len() == words && words > 0).then_some(Self {
            argv,
            env,
            cwd,
            identity,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use sandbox_protocol::process::Limits;

    use super::{Identity, Launch, Prepared};

    fn text() -> impl Strategy<Value = String> {
        "[^\0]{0,12}"
    }

    fn launch() -> impl Strategy<Value = Launch> {
        let value = prop::collection::vec(1_u8.., 0..12).prop_map(OsString::from_vec);
        let identity = prop::option::of((
            any::<u32>(),
            any::<u32>(),
            prop::collection::vec(any::<u32>(), 0..4),
        ));
        (
            prop::collection::vec(text(), 1..6),
            prop::collection::btree_map("[A-Z]{1,4}".prop_map(OsString::from), value, 0..6),
            text(),
            identity,
        )
            .prop_map(|(argv, env, cwd, identity)| Launch {
                argv,
                env,
                cwd,
                identity: identity.map(|(uid, gid, groups)| Identity { uid, gid, groups }),
                limits: Limits::default(),
            })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_what_the_kernel_gets(launch in launch()) {
            let bytes = launch.encode();
            let prepared = Prepared::decode(&bytes).expect("decodes");
            let words: Vec<_> = prepared.argv.iter().map(|word| word.to_str().unwrap()).collect();
            prop_assert_eq!(words, launch.argv);
            prop_assert_eq!(prepared.env.len(), launch.env.len());
            prop_assert_eq!(prepared.cwd.to_str().unwrap(), launch.cwd);
            let ids = prepared.identity.map(|(uid, gid, groups)| Identity {
                uid: uid.as_raw(),
                gid: gid.as_raw(),
                groups: groups.into_iter().map(rustix::fs::Gid::as_raw).collect(),
            });
            prop_assert_eq!(ids, launch.identity);
        }

        #[test]
        fn other_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Prepared::decode(&bytes);
        }
    }
}
