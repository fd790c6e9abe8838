//! The Unix socket: made for its owner alone, and taken over only from the dead.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixSocket, UnixStream};
use tokio::time::timeout;

use super::ListenError;

/// The kernel keeps 108 bytes, one of which ends the path.
pub(super) const PATH_LEN_MAX: usize = 107;
const MODE: u32 = 0o600;
const BACKLOG: u32 = 1024;
/// A process that is there and busy takes that long to answer, at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A Unix socket that is listened on. Dropped, it takes its file along.
#[derive(Debug)]
pub(super) struct UnixDoor {
    pub(super) listener: UnixListener,
    _file: SocketFile,
}

impl UnixDoor {
    /// Makes the socket. Two processes that do this at the same time for one path could take it from
    /// each other; a store's lock keeps them from it, since only who has it listens in its folder.
    pub(super) async fn open(path: &Path, mode: Option<u32>) -> Result<UnixDoor, ListenError> {
        let length = path.as_os_str().as_bytes().len();
        if length > PATH_LEN_MAX {
            return Err(ListenError::PathTooLong { path: path.to_owned(), length });
        }
        remove_stale(path).await?;
        let (listener, file) = bind(path, mode.unwrap_or(MODE))
            .map_err(|source| ListenError::Unix { path: path.to_owned(), source })?;
        Ok(UnixDoor { listener, _file: file })
    }
}

/// Makes the file with its mode before anyone can connect: until `listen` everyone is refused.
fn bind(path: &Path, mode: u32) -> io::Result<(UnixListener, SocketFile)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile::at(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
    Ok((socket.listen(BACKLOG)?, file))
}

async fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let failed = |source| ListenError::Unix { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Ok(there) if there.file_type().is_socket() => {}
        Ok(_) => return Err(ListenError::NotASocket { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    }
    match timeout(ANSWER_TIMEOUT, UnixStream::connect(path)).await {
        // Nobody listens any more.
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A full queue is somebody's.
        Ok(Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Err(failed(error)),
        _ => Err(ListenError::Live { path: path.to_owned() }),
    }
}

/// The socket's name, for as long as it is ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<SocketFile> {
        Ok(SocketFile { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|there| there == self.identity) {
            // What is left behind is stale, and removed by the next one.
            fs::remove_file(&self.path).ok();
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
