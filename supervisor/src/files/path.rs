//! Paths of the workspace as they come in a URL.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use crate::error::Error;

/// A path relative to the workspace, `.` for the workspace itself. Whether it stays inside is for the
/// kernel to say when it opens it: it may have `..`, and links on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkspacePath(PathBuf);

impl WorkspacePath {
    /// Reads an absolute path without its leading slash, percent-encoded: `workspace/a%20b`.
    pub fn from_url(encoded: &str) -> Result<Self, Error> {
        let decoded: Vec<u8> = percent_decode_str(encoded).collect();
        if decoded.contains(&0) {
            return Err(Error::Parameter {
                name: "path",
                rule: "a path has no NUL".to_owned(),
            });
        }
        let absolute = trim_slashes(&decoded);
        let inside = absolute.strip_prefix(b"workspace");
        match inside {
            Some(b"") => Ok(Self(PathBuf::from("."))),
            Some(rest @ [b'/', ..]) => match trim_slashes(rest) {
                b"" => Ok(Self(PathBuf::from("."))),
                rest => Ok(Self(OsString::from_vec(rest.to_vec()).into())),
            },
            _ => Err(Error::OutsideWorkspace {
                path: format!("/{}", String::from_utf8_lossy(absolute)),
            }),
        }
    }

    /// The path as the kernel is to resolve it, from the workspace.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// The folder and the name in it; an error where the path names no file: the workspace itself, `..`, or
    /// with a slash at its end.
    pub fn split(&self) -> Result<(&Path, &OsStr), Error> {
        let bytes = self.0.as_os_str().as_bytes();
        let (folder, name) = match bytes.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
            None => (&b"."[..], bytes),
        };
        if matches!(name, b"" | b"." | b"..") {
            return Err(Error::NotAFile {
                path: self.to_string(),
                rule: "names no file",
            });
        }
        Ok((
            Path::new(OsStr::from_bytes(folder)),
            OsStr::from_bytes(name),
        ))
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.as_os_str() == "." {
            return f.write_str("/workspace");
        }
        write!(f, "/workspace/{}", self.0.display())
    }
}

fn trim_slashes(mut path: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] = path {
        path = rest;
    }
    path
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use proptest::prelude::*;

    use super::WorkspacePath;

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_refused_or_relative(
            url in "(workspace)?(/|%2[fF]|%2[eE]|\\.|a|%|%00|é){0,12}"
        ) {
            if let Ok(path) = WorkspacePath::from_url(&url) {
                prop_assert!(path.as_path().is_relative(), "{}", path);
                if let Ok((folder, name)) = path.split() {
                    prop_assert!(folder.is_relative());
                    prop_assert!(!name.as_bytes().contains(&b'/') && name != "..");
                }
            }
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_may_be_any_bytes() {
        for (url, want) in [
            ("workspace/a%20b", &b"a b"[..]),
            ("workspace/a%2520b", b"a%20b"),
            ("workspace/%FF", b"\xff"),
            ("workspace%2Fa", b"a"),
            ("/workspace//a", b"a"),
            ("workspace", b"."),
            ("workspace/", b"."),
            ("workspace/a/", b"a/"),
        ] {
            let path = WorkspacePath::from_url(url).unwrap();
            assert_eq!(path.as_path().as_os_str().as_bytes(), want, "{url}");
        }
    }

    #[test]
    fn what_is_not_under_the_workspace_is_outside() {
        for url in ["etc/passwd", "workspaces/a", "./workspace/a", "..", ""] {
            assert!(WorkspacePath::from_url(url).is_err(), "{url}");
        }
        assert!(WorkspacePath::from_url("workspace/a%00b").is_err());
    }

    #[test]
    fn a_path_without_a_name_names_no_file() {
        for url in ["workspace", "workspace/a/", "workspace/a/..", "workspace/."] {
            assert!(
                WorkspacePath::from_url(url).unwrap().split().is_err(),
                "{url}"
            );
        }
        let path = WorkspacePath::from_url("workspace/a/b").unwrap();
        assert_eq!(path.split().unwrap(), ("a".as_ref(), "b".as_ref()));
    }
}
