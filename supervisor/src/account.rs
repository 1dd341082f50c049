//! Accounts of the container, read from its `/etc/passwd`.

use std::fs;
use std::io;
use std::path::PathBuf;

/// A user: what a process that runs as it needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, for `USER` and `LOGNAME`.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home folder, for `HOME`.
    pub home: PathBuf,
    /// Its login shell, for `SHELL`.
    pub shell: String,
}

impl Account {
    /// The account called `name`; `None` where there is no such line.
    ///
    /// The file is read each time: a build that adds a user may then use it. The program is static, so NSS
    /// is no choice.
    pub fn named(name: &str) -> io::Result<Option<Self>> {
        Ok(parse(&fs::read_to_string("/etc/passwd")?, |account| {
            account.name == name
        }))
    }

    /// The account with this user id; `None` where there is no such line.
    pub fn with_uid(uid: u32) -> io::Result<Option<Self>> {
        Ok(parse(&fs::read_to_string("/etc/passwd")?, |account| {
            account.uid == uid
        }))
    }
}

fn parse(passwd: &str, wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    passwd.lines().filter_map(account).find(wanted)
}

fn account(line: &str) -> Option<Account> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let _password = fields.next()?;
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let _full_name = fields.next()?;
    let home = PathBuf::from(fields.next()?);
    let shell = match fields.next() {
        None | Some("") => "/bin/sh".to_owned(),
        Some(shell) => shell.to_owned(),
    };
    Some(Account {
        name,
        uid,
        gid,
        home,
        shell,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/bash\nbroken\nsandbox:x:1000:1001::/home/sandbox:\n";

    #[test]
    fn an_account_is_found_by_name_and_an_empty_shell_is_sh() {
        let account = parse(PASSWD, |account| account.name == "sandbox").unwrap();
        assert_eq!((account.uid, account.gid), (1000, 1001));
        assert_eq!(account.home.to_str(), Some("/home/sandbox"));
        assert_eq!(account.shell, "/bin/sh");
        assert_eq!(parse(PASSWD, |account| account.name == "nobody"), None);
    }
}
