//! The Unix socket.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tokio::net::UnixStream;

use super::*;

fn at(path: &Path) -> ListenSettings {
    ListenSettings { socket: Some(path.to_owned()), ..ListenSettings::default() }
}

#[tokio::test]
async fn the_kernel_says_who_connected() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mut incoming = Listener::bind(&at(&path), false).await.unwrap().incoming();
    let mut client = UnixStream::connect(&path).await.unwrap();
    let (mut connection, peer) = next(&mut incoming).await;
    let uid = fs::metadata(dir.path()).unwrap().uid();
    assert_eq!(peer, Peer::Unix { uid, pid: Some(std::process::id() as i32) });
    talk(&mut client, &mut connection).await;
}

#[tokio::test]
async fn it_is_its_owners_alone_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    let listener = Listener::bind(&at(&path), false).await.unwrap();
    assert_eq!(mode(), 0o600);
    drop(listener);
    let settings = ListenSettings { socket_mode: Some(0o660), ..at(&path) };
    let _listener = Listener::bind(&settings, false).await.unwrap();
    assert_eq!(mode(), 0o660);
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.try_exists().unwrap(), "it is stale");
    let listener = Listener::bind(&at(&path), false).await.unwrap();

    let told = Listener::bind(&at(&path), false).await.unwrap_err();
    assert!(matches!(told, ListenError::Live { .. }), "{told}");
    assert!(path.try_exists().unwrap());

    let mut incoming = listener.incoming();
    let mut client = UnixStream::connect(&path).await.unwrap();
    // The first to connect was whoever asked whether it is live.
    let mut probe = next(&mut incoming).await.0;
    assert_eq!(timeout(SOON, probe.read(&mut [0])).await.unwrap().unwrap(), 0);
    let (mut connection, _) = next(&mut incoming).await;
    talk(&mut client, &mut connection).await;
}

#[tokio::test]
async fn its_name_goes_with_it_but_not_with_anothers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    drop(Listener::bind(&at(&path), false).await.unwrap());
    assert!(!path.try_exists().unwrap());

    let listener = Listener::bind(&at(&path), false).await.unwrap();
    fs::remove_file(&path).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(listener);
    assert!(path.try_exists().unwrap());
}

#[tokio::test]
async fn what_cannot_be_a_socket_says_why_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    fs::write(&path, "precious").unwrap();
    let told = Listener::bind(&at(&path), false).await.unwrap_err();
    assert!(matches!(told, ListenError::NotASocket { .. }), "{told}");
    assert_eq!(fs::read(&path).unwrap(), b"precious");

    let long = dir.path().join("x".repeat(107));
    let told = Listener::bind(&at(&long), false).await.unwrap_err().to_string();
    assert!(told.contains("more than the 107") && told.contains("/run/tapstone.sock"), "{told}");
    let fits = dir.path().join("x".repeat(106 - dir.path().as_os_str().len()));
    assert_eq!(fits.as_os_str().len(), 107);
    assert!(Listener::bind(&at(&fits), false).await.is_ok());

    let told = Listener::bind(&at(&dir.path().join("no/s")), false).await.unwrap_err().to_string();
    assert!(told.contains("its folder"), "{told}");
}
