//! Looking into processes of another user.
//!
//! With a container's usual capabilities root may not read `/proc/<pid>/fd` or `/io` of another user's
//! process. A thread that has that user's filesystem ids may.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::process::Pid;

/// Runs `look` with the filesystem ids of the user of `pid`, on this thread alone, and takes them off again.
/// Blocking code only: an await would go on elsewhere.
pub fn as_owner_of<T>(pid: Pid, look: impl FnOnce() -> T) -> T {
    let owner = fs::metadata(format!("/proc/{}", pid.as_raw_nonzero()))
        .map(|folder| (folder.uid(), folder.gid()));
    let Ok((uid, gid)) = owner else {
        return look();
    };
    let _ids = FilesystemIds::become_other(uid, gid);
    look()
}

/// The ids that a thread had, which it gets back when this is dropped.
struct FilesystemIds {
    uid: u32,
    gid: u32,
}

impl FilesystemIds {
    /// Takes on `uid` and `gid`. Where the kernel refuses, nothing changes and the look fails by itself.
    fn become_other(uid: u32, gid: u32) -> Self {
        // The group first: without root's user it could not be changed any more.
        let gid = set_gid(gid);
        let uid = set_uid(uid);
        Self { uid, gid }
    }
}

impl Drop for FilesystemIds {
    fn drop(&mut self) {
        set_uid(self.uid);
        set_gid(self.gid);
    }
}

#[expect(unsafe_code, reason = "rustix has no setfsuid")]
fn set_uid(uid: u32) -> u32 {
    // SAFETY: has no precondition; it changes this thread alone and answers with the id before.
    unsafe { libc::setfsuid(uid) }.cast_unsigned()
}

#[expect(unsafe_code, reason = "rustix has no setfsgid")]
fn set_gid(gid: u32) -> u32 {
    // SAFETY: as in `set_uid`.
    unsafe { libc::setfsgid(gid) }.cast_unsigned()
}
