//! Shaking hands, with all kinds of clients.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio_rustls::rustls::version;

use super::pki::{Authority, Client, Files, Identity};
use super::*;
use crate::access::ClientCertificate;
use crate::listen::Tls;

/// A server that knows an authority for clients, and both authorities.
struct World {
    servers: Authority,
    clients: Authority,
    files: Files,
}

impl World {
    fn new() -> World {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        let files = Files::new(&servers.server());
        files.put_authorities(&[&clients]);
        World { servers, clients, files }
    }

    fn client<'a>(&'a self, shows: Option<&'a Identity>) -> Client<'a> {
        Client::new(&self.servers, shows)
    }
}

fn certificate_of(peer: Peer) -> Option<Arc<ClientCertificate>> {
    match peer {
        Peer::Tls { certificate, .. } => certificate,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_good_certificate_says_who_is_there() {
    let world = World::new();
    let alice = world.clients.client("alice@example.com");
    let (listener, address) = world.files.listen(false).await;
    let mut incoming = listener.incoming();
    for version in [&version::TLS12, &version::TLS13] {
        let client = Client { version, ..world.client(Some(&alice)) };
        let (mut stream, (mut connection, peer)) =
            (client.connect(address).await.unwrap(), next(&mut incoming).await);
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let certificate = certificate_of(peer).unwrap();
        assert_eq!(*certificate, ClientCertificate::from_der(&alice.certificate).unwrap());
        assert!(certificate.is_called("alice@example.com"));
        talk(&mut stream, &mut connection).await;
    }
}

#[tokio::test]
async fn without_a_certificate_one_gets_in_only_where_tokens_are() {
    let world = World::new();
    let (listener, address) = world.files.listen(false).await;
    let counters = listener.counters();
    let mut incoming = listener.incoming();
    assert!(world.client(None).is_refused(address).await);
    assert_eq!((counters.accepted(), counters.handshakes_failed()), (0, 1));
    drop(incoming);

    let (listener, address) = world.files.listen(true).await;
    incoming = listener.incoming();
    let mut stream = world.client(None).connect(address).await.unwrap();
    let (mut connection, peer) = next(&mut incoming).await;
    assert_eq!(certificate_of(peer), None);
    talk(&mut stream, &mut connection).await;
}

#[tokio::test]
async fn bad_certificates_never_get_in_not_even_where_none_is_needed() {
    let world = World::new();
    let expired = world.clients.expired_client("alice@example.com");
    let foreign = Authority::new("clients").client("alice@example.com");
    let a_servers = world.servers.client("alice@example.com");
    for tokens in [false, true] {
        let (listener, address) = world.files.listen(tokens).await;
        let counters = listener.counters();
        let mut incoming = listener.incoming();
        for (count, shows) in (1..).zip([&expired, &foreign, &a_servers]) {
            for version in [&version::TLS13, &version::TLS12] {
                let client = Client { version, ..world.client(Some(shows)) };
                assert!(client.is_refused(address).await, "{count}, tokens: {tokens}");
            }
            assert_eq!(counters.handshakes_failed(), count * 2);
        }
        assert_eq!(counters.accepted(), 0);
        incoming.closer().close();
        assert!(incoming.next().await.is_none());
    }
}

#[tokio::test]
async fn what_is_not_tls_or_not_h2_is_turned_away() {
    let world = World::new();
    let (listener, address) = world.files.listen(true).await;
    let counters = listener.counters();
    let mut incoming = listener.incoming();
    for garbage in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", &[0; 4096]]
    {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        let mut answer = Vec::new();
        // An alert, or a reset.
        timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().ok();
        assert!(answer.len() < 16, "{answer:?}");
    }
    assert!(Client { protocol: "http/1.1", ..world.client(None) }.is_refused(address).await);
    assert_eq!((counters.handshakes_failed(), counters.accepted()), (4, 0));

    let mut stream = world.client(None).connect(address).await.unwrap();
    talk(&mut stream, &mut next(&mut incoming).await.0).await;
}

#[tokio::test]
async fn those_who_never_speak_hold_up_nobody_and_are_put_out() {
    let world = World::new();
    let (listener, address) = world.files.listen(true).await;
    let counters = listener.counters();
    let mut incoming = listener.incoming();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let begun = Instant::now();
    let mut stream = world.client(None).connect(address).await.unwrap();
    talk(&mut stream, &mut next(&mut incoming).await.0).await;
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());

    // One host has room for so many; the next are put out at once.
    for _ in 0..60 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    timeout(SOON, async {
        while counters.refused() < 32 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(counters.handshakes_timed_out(), 0);

    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    for mut stream in silent {
        let read = timeout(SOON, stream.read(&mut [0])).await.unwrap();
        assert!(!matches!(read, Ok(1)));
    }
    assert_eq!((counters.handshakes_timed_out(), counters.refused()), (128, 32));
    let mut stream = world.client(None).connect(address).await.unwrap();
    talk(&mut stream, &mut next(&mut incoming).await.0).await;
}

#[tokio::test]
async fn reloading_exchanges_certificates_for_new_connections_only() {
    let world = World::new();
    let alice = world.clients.client("alice@example.com");
    let (listener, address) = world.files.listen(false).await;
    let tls = listener.tls().unwrap();
    let mut incoming = listener.incoming();
    let mut old = world.client(Some(&alice)).connect(address).await.unwrap();
    let mut old_connection = next(&mut incoming).await.0;

    let (servers, clients) = (Authority::new("new servers"), Authority::new("new clients"));
    let bob = clients.client("bob@example.com");
    world.files.put_server(&servers.server());
    world.files.put_authorities(&[&clients]);
    tls.reload(&world.files.settings(), false).unwrap();

    let mut new = Client::new(&servers, Some(&bob)).connect(address).await.unwrap();
    let (mut new_connection, peer) = next(&mut incoming).await;
    assert!(certificate_of(peer).unwrap().is_called("bob@example.com"));
    talk(&mut new, &mut new_connection).await;
    talk(&mut old, &mut old_connection).await;
    assert!(world.client(Some(&alice)).is_refused(address).await);
    assert!(Client::new(&servers, Some(&alice)).is_refused(address).await);
}

#[tokio::test]
async fn a_broken_reload_leaves_the_old_certificates_in_force() {
    let world = World::new();
    let alice = world.clients.client("alice@example.com");
    let (listener, address) = world.files.listen(false).await;
    let tls: Tls = listener.tls().unwrap();
    let mut incoming = listener.incoming();
    for name in ["server.pem", "server.key", "ca.pem"] {
        let good = std::fs::read(world.files.path(name)).unwrap();
        std::fs::write(world.files.path(name), "broken").unwrap();
        let told = tls.reload(&world.files.settings(), false).unwrap_err().to_string();
        assert!(told.contains(name), "{told}");
        let mut stream = world.client(Some(&alice)).connect(address).await.unwrap();
        talk(&mut stream, &mut next(&mut incoming).await.0).await;
        std::fs::write(world.files.path(name), good).unwrap();
    }
    tls.reload(&world.files.settings(), false).unwrap();
}
