//! Whom a process runs as, and the variables that a login would give it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use sandbox_protocol::error::{ErrorBody, ErrorCode};
use sandbox_protocol::request::invalid;

use super::launch::Identity;
use crate::account::Account;
use crate::error::Error;

/// The name by which every request may call the default user, whatever its name is on this machine.
const DEFAULT_NAME: &str = "sandbox";

/// Where programs are looked for unless the container says otherwise.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A user to run as.
#[derive(Clone, Debug)]
pub(super) struct User {
    account: Account,
    /// What to change to; `None` where we are that user already.
    pub(super) identity: Option<Identity>,
}

impl User {
    /// The user that a request names; `default` (ours, where there is none) if it names none or `sandbox`.
    ///
    /// `VALIDATION_FAILED` for an unknown one, `PERMISSION_DENIED` for another than ours where we are not
    /// root, who alone can become somebody else.
    pub(super) fn of_request(name: Option<&str>, default: Option<&Account>) -> Result<Self, Error> {
        match name {
            None | Some(DEFAULT_NAME) => match default {
                Some(account) => Self::other(account.clone()),
                None => Ok(Self::ourselves()?),
            },
            Some(name) => Self::named(name),
        }
    }

    /// `HOME`, `USER`, `LOGNAME`, `SHELL` and `PATH`.
    pub(super) fn variables(&self) -> BTreeMap<OsString, OsString> {
        let Account {
            name, home, shell, ..
        } = &self.account;
        [
            ("HOME", home.into()),
            ("USER", name.into()),
            ("LOGNAME", name.into()),
            ("SHELL", shell.into()),
            ("PATH", PATH.into()),
        ]
        .map(|(name, value): (&str, OsString)| (name.into(), value))
        .into()
    }

    fn named(name: &str) -> Result<Self, Error> {
        let ourselves = Self::ourselves()?;
        if ourselves.account.name == name {
            return Ok(ourselves);
        }
        if ourselves.account.uid != 0 {
            return Err(ErrorBody::new(
                ErrorCode::PermissionDenied,
                format!(
                    "all runs as {} here, for want of root",
                    ourselves.account.name
                ),
            )
            .with(|context| context.field = Some("user".to_owned()))
            .into());
        }
        let account = Account::named(name).map_err(Error::internal("reading /etc/passwd"))?;
        match account {
            Some(account) => Self::other(account),
            None => Err(invalid("user", "there is no such user").into()),
        }
    }

    fn ourselves() -> Result<Self, Error> {
        let uid = rustix::process::geteuid().as_raw();
        let account = Account::with_uid(uid).map_err(Error::internal("reading /etc/passwd"))?;
        let nameless = || Account {
            name: uid.to_string(),
            uid,
            gid: rustix::process::getegid().as_raw(),
            home: PathBuf::from("/"),
            shell: "/bin/sh".to_owned(),
        };
        Ok(Self {
            account: account.unwrap_or_else(nameless),
            identity: None,
        })
    }

    fn other(account: Account) -> Result<Self, Error> {
        // Read each time, like /etc/passwd: a build may change it.
        let groups = match fs::read_to_string("/etc/group") {
            Ok(file) => groups(&file, &account),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::internal("reading /etc/group")(error)),
        };
        let identity = Identity {
            uid: account.uid,
            gid: account.gid,
            groups,
        };
        Ok(Self {
            account,
            identity: Some(identity),
        })
    }
}

/// The supplementary groups of `account`: those that list it.
fn groups(file: &str, account: &Account) -> Vec<u32> {
    let listed = |line: &str| -> Option<u32> {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        let mut members = fields.next()?.split(',');
        members.any(|member| member == account.name).then_some(gid)
    };
    file.lines().filter_map(listed).collect()
}

#[cfg(test)]
mod tests {
    use super::{User, groups};
    use crate::account::Account;

    fn account() -> Account {
        Account {
            name: "sandbox".to_owned(),
            uid: 1000,
            gid: 1000,
            home: "/home/sandbox".into(),
            shell: "/bin/bash".to_owned(),
        }
    }

    #[test]
    fn the_groups_are_those_that_list_the_user() {
        let file = "root:x:0:\nadm:x:4:syslog,sandbox\nbroken\nsandbox:x:1000:\nvideo:x:44:sandbox\nx:x:7:sandboxer\n";
        assert_eq!(groups(file, &account()), [4, 44]);
    }

    #[test]
    fn the_default_user_has_two_names() {
        for name in [None, Some("sandbox")] {
            let user = User::of_request(name, Some(&account())).unwrap();
            assert_eq!(user.identity.as_ref().unwrap().uid, 1000);
            assert_eq!(
                user.variables()[std::ffi::OsStr::new("HOME")],
                "/home/sandbox"
            );
        }
    }

    #[test]
    fn an_unknown_user_is_refused_by_name() {
        let error = User::of_request(Some("nobody-of-this-name"), None).unwrap_err();
        assert_eq!(error.body().context.field.as_deref(), Some("user"));
    }
}
