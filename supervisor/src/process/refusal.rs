//! A process that could not be started, in the words of the wire.

use std::io;

use rustix::io::Errno;
use sandbox_protocol::error::{ErrorBody, ErrorCode};

use super::launch::Launch;
use super::report::{Failure, SpawnError, Stage};

/// Why `launch` does not execute: `INVALID_CWD` or `INVALID_COMMAND` where the caller can help it, else
/// `SPAWN_FAILED`.
pub(super) fn refusal(error: &SpawnError, launch: &Launch) -> ErrorBody {
    match error {
        SpawnError::Refused(failure) => refused(*failure, launch),
        SpawnError::Vanished => ErrorBody::new(
            ErrorCode::SpawnFailed,
            "what starts processes was killed while it started this one",
        ),
        SpawnError::Io(error) => {
            ErrorBody::new(ErrorCode::SpawnFailed, format!("cannot start it: {error}"))
        }
    }
}

fn refused(failure: Failure, launch: &Launch) -> ErrorBody {
    let errno = Errno::from_raw_os_error(failure.errno);
    let reason = reason(errno);
    let body = match failure.stage {
        Stage::Cwd if is_the_callers(errno) => {
            let cwd = &launch.cwd;
            ErrorBody::new(ErrorCode::InvalidCwd, format!("{cwd}: {reason}"))
                .with(|context| context.path = Some(cwd.clone()))
        }
        Stage::Exec if is_the_callers(errno) => {
            let program = &launch.argv[0];
            ErrorBody::new(ErrorCode::InvalidCommand, format!("{program}: {reason}"))
                .with(|context| context.path = Some(program.clone()))
        }
        stage => ErrorBody::new(
            ErrorCode::SpawnFailed,
            format!("cannot start it, at {stage:?}: {reason}"),
        ),
    };
    body.with(|context| context.errno = Some(name(errno)))
}

/// Whether another path or command would fare better; if not, the machine is short of something.
fn is_the_callers(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::NOENT
            | Errno::NOTDIR
            | Errno::ACCESS
            | Errno::PERM
            | Errno::NOEXEC
            | Errno::ISDIR
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::TOOBIG
            | Errno::INVAL
    )
}

fn reason(errno: Errno) -> String {
    let text = io::Error::from(errno).to_string();
    let bare = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = bare.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

fn name(errno: Errno) -> String {
    let name = match errno {
        Errno::NOENT => "ENOENT",
        Errno::NOTDIR => "ENOTDIR",
        Errno::ACCESS => "EACCES",
        Errno::PERM => "EPERM",
        Errno::NOEXEC => "ENOEXEC",
        Errno::ISDIR => "EISDIR",
        Errno::LOOP => "ELOOP",
        Errno::NAMETOOLONG => "ENAMETOOLONG",
        Errno::TOOBIG => "E2BIG",
        Errno::INVAL => "EINVAL",
        Errno::AGAIN => "EAGAIN",
        Errno::NOMEM => "ENOMEM",
        Errno::MFILE => "EMFILE",
        Errno::NFILE => "ENFILE",
        other => return other.raw_os_error().to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;
    use sandbox_protocol::error::ErrorCode;
    use sandbox_protocol::process::Limits;

    use super::super::launch::Launch;
    use super::super::report::{Failure, SpawnError, Stage};
    use super::refusal;

    #[test]
    fn what_the_caller_can_help_is_a_400() {
        let launch = Launch {
            argv: vec!["nope".to_owned()],
            env: [].into(),
            cwd: "/nowhere".to_owned(),
            identity: None,
            limits: Limits::default(),
        };
        for (stage, errno, code, said) in [
            (
                Stage::Cwd,
                Errno::NOENT,
                ErrorCode::InvalidCwd,
                "/nowhere: no such file or directory",
            ),
            (
                Stage::Exec,
                Errno::ACCESS,
                ErrorCode::InvalidCommand,
                "nope: permission denied",
            ),
            (
                Stage::Exec,
                Errno::NOMEM,
                ErrorCode::SpawnFailed,
                "cannot start it, at Exec: ",
            ),
            (
                Stage::Fork,
                Errno::AGAIN,
                ErrorCode::SpawnFailed,
                "cannot start it, at Fork: ",
            ),
        ] {
            let error = SpawnError::Refused(Failure::new(stage, errno));
            let body = refusal(&error, &launch);
            assert_eq!(body.code, code);
            assert!(
                body.error.to_lowercase().starts_with(&said.to_lowercase()),
                "{}",
                body.error
            );
            assert!(body.context.errno.is_some());
        }
    }
}
