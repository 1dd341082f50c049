//! Waiting for a file to exist.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::net::unix::pipe::Receiver;

/// Resolves when there is something at `path`, a link to nothing apart. The kernel tells of every change in
/// the deepest folder of it that exists. Some file systems (`/proc`, a network's) do not tell; whoever waits for
/// a file there has it looked for at an `interval` besides.
pub(super) async fn exists(path: &Path, interval: Option<Duration>) -> io::Result<()> {
    while !path.exists() {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let folder = deepest_folder(path);
        let wanted = WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ATTRIB;
        match inotify::add_watch(&changes, &folder, wanted) {
            Ok(_) => {}
            // It went away in between.
            Err(rustix::io::Errno::NOENT) => continue,
            Err(error) => return Err(error.into()),
        }
        // "Unchecked" because it is no pipe; it is told to be readable in the same way.
        let changes = Receiver::from_owned_fd_unchecked(changes)?;
        // What came between the question and the watch is not told.
        if path.exists() || deepest_folder(path) != folder {
            continue;
        }
        tokio::select! {
            told = changes.readable() => told?,
            () = pause(interval) => {}
        }
    }
    Ok(())
}

async fn pause(interval: Option<Duration>) {
    match interval {
        Some(interval) => tokio::time::sleep(interval).await,
        None => std::future::pending().await,
    }
}

fn deepest_folder(path: &Path) -> PathBuf {
    let mut folders = path.ancestors().skip(1);
    let found = folders.find(|folder| folder.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::exists;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_file_is_seen_when_it_is_there_and_when_it_comes_with_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        exists(folder.path(), None).await.unwrap();
        let deep = folder.path().join("a/b/ready");
        let waiting = {
            let deep = deep.clone();
            tokio::spawn(async move { exists(&deep, None).await })
        };
        tokio::task::yield_now().await;
        fs::create_dir(folder.path().join("a")).unwrap();
        tokio::task::yield_now().await;
        fs::create_dir(folder.path().join("a/b")).unwrap();
        tokio::task::yield_now().await;
        fs::write(folder.path().join("other"), "").unwrap();
        assert!(!waiting.is_finished());
        fs::write(&deep, "").unwrap();
        let met = tokio::time::timeout(LIMIT, waiting).await.unwrap();
        met.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_file_of_which_the_kernel_does_not_tell_is_looked_for() {
        // The descriptors of a process come and go unseen.
        let descriptor = Path::new("/proc/self/fdinfo/900");
        let waiting = exists(descriptor, Some(Duration::from_millis(10)));
        let opening = async {
            tokio::task::yield_now().await;
            let null = std::fs::File::open("/dev/null").unwrap();
            rustix::io::fcntl_dupfd_cloexec(&null, 900).unwrap()
        };
        let met = async { tokio::join!(waiting, opening).0 };
        tokio::time::timeout(LIMIT, met).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_file_that_is_moved_into_place_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (draft, ready) = (folder.path().join("draft"), folder.path().join("ready"));
        fs::write(&draft, "").unwrap();
        let moving = async {
            tokio::task::yield_now().await;
            fs::rename(&draft, &ready).unwrap();
        };
        let met = async { tokio::join!(exists(&ready, None), moving).0 };
        tokio::time::timeout(LIMIT, met).await.unwrap().unwrap();
    }
}
