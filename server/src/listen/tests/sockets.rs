//! Addresses, and what is refused.

use tokio::net::TcpStream;

use super::*;

async fn refusal(settings: ListenSettings) -> String {
    Listener::bind(&settings, false).await.unwrap_err().to_string()
}

#[tokio::test]
async fn several_addresses_give_one_stream() {
    let addresses = vec![([127, 0, 0, 1], 0).into(), "[::1]:0".parse().unwrap()];
    let settings = ListenSettings { addresses, ..ListenSettings::default() };
    let listener = Listener::bind(&settings, false).await.unwrap();
    let (addresses, counters) = (listener.addresses(), listener.counters());
    let mut incoming = listener.incoming();
    for address in addresses {
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut connection, peer) = next(&mut incoming).await;
        assert_eq!(peer, Peer::Tcp { address: client.local_addr().unwrap() });
        talk(&mut client, &mut connection).await;
    }
    assert_eq!(counters.accepted(), 2);
}

#[tokio::test]
async fn plaintext_stays_on_this_machine_unless_it_is_asked_for() {
    for address in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0", "192.0.2.1:0"] {
        let addresses = vec![address.parse().unwrap()];
        let told = refusal(ListenSettings { addresses, ..ListenSettings::default() }).await;
        assert!(told.contains("plaintext = true") && told.contains("tls"), "{told}");
    }
    // 0.0.0.0 is only opened, on a port of the system's choice, and closed again.
    let addresses = vec![([0, 0, 0, 0], 0).into()];
    let settings = ListenSettings { addresses, plaintext: true, ..ListenSettings::default() };
    assert!(Listener::bind(&settings, false).await.is_ok());
}

#[tokio::test]
async fn what_cannot_be_listened_on_says_why() {
    let told = refusal(ListenSettings::default()).await;
    assert!(told.contains("nothing to listen on"), "{told}");

    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let addresses = vec![taken.local_addr().unwrap()];
    let told = refusal(ListenSettings { addresses, ..ListenSettings::default() }).await;
    assert!(told.contains("ss -ltnp"), "{told}");
}

#[tokio::test]
async fn closing_lets_nobody_in_and_serves_those_who_are() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let settings = ListenSettings {
        addresses: loopback(),
        socket: Some(socket.clone()),
        ..ListenSettings::default()
    };
    let listener = Listener::bind(&settings, false).await.unwrap();
    let address = listener.addresses()[0];
    let mut incoming = listener.incoming();
    let mut client = TcpStream::connect(address).await.unwrap();
    let (mut connection, _) = next(&mut incoming).await;
    incoming.closer().close();
    assert!(timeout(SOON, incoming.next()).await.unwrap().is_none());
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!socket.try_exists().unwrap());
    talk(&mut client, &mut connection).await;
}

#[tokio::test]
async fn dropping_it_closes_it() {
    let settings = ListenSettings { addresses: loopback(), ..ListenSettings::default() };
    let listener = Listener::bind(&settings, false).await.unwrap();
    let address = listener.addresses()[0];
    drop(listener.incoming());
    // The tasks go at their next turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(TcpStream::connect(address).await.is_err());
}

/// What `serve_with_incoming_shutdown` asks for.
#[test]
fn tonic_can_serve_it() {
    fn served<I, IO, E>(_: impl Fn(Listener) -> I)
    where
        I: futures_core::Stream<Item = Result<IO, E>>,
        IO: tokio::io::AsyncRead + tokio::io::AsyncWrite + Connected<ConnectInfo = Peer>,
        IO: Unpin + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
    }
    served(Listener::incoming);
}
