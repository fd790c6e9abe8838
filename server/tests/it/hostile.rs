//! Clients that mean harm: the others get their answers, and the server ends as it should.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use assert_cmd::cargo::cargo_bin;
use tapstone_benches::hostile::{self, Harm};
use tapstone_benches::served::{ask, known_by_token};
use tapstone_client::{Address, Client, Credentials};

use crate::served::Served;
use crate::serving::stored;

#[tokio::test(flavor = "multi_thread")]
async fn good_clients_get_their_answers_while_others_do_harm() {
    let dir = stored(4 << 20);
    let (config, token) = known_by_token(cargo_bin!("tapstone"), dir.path()).unwrap();
    let served = Served::start_with(&dir.path().join("s"), &["--config", &config]);
    let address: SocketAddr = served.address_after("serving on ").parse().unwrap();
    let place: Address = format!("http://{address}").parse().unwrap();
    let known = Credentials { token: Some(token), ..Credentials::default() };
    let (good, harm) = (served.client().await, Arc::new(Harm::default()));
    let (expected, _) = ask(&good, "udp port 53").await.unwrap();

    let mut attack = tokio::task::JoinSet::new();
    for number in 0..3 {
        let client = Client::connect(&place, &known).await.unwrap();
        attack.spawn(hostile::hold_streams(client.clone(), 100, Arc::clone(&harm)));
        attack.spawn(hostile::read_slowly(client, Arc::clone(&harm)));
        attack.spawn(hostile::flood_with_headers(address, Arc::clone(&harm)));
        attack.spawn(hostile::reset_rapidly(address, Arc::clone(&harm)));
        attack.spawn(hostile::send_garbage(address, number, Arc::clone(&harm)));
    }
    let began = Instant::now();
    let mut answers = 0;
    while began.elapsed() < Duration::from_secs(3) || answers < 5 {
        let asked = tokio::time::timeout(Duration::from_secs(20), ask(&good, "udp port 53"));
        assert_eq!(asked.await.expect("nobody else keeps it waiting").unwrap().0, expected);
        answers += 1;
    }
    harm.over.store(true, Ordering::Relaxed);
    attack.shutdown().await;
    assert!(harm.streams.load(Ordering::Relaxed) >= 300);
    assert!(harm.connections.load(Ordering::Relaxed) >= 9);
    assert_eq!(ask(&good, "udp port 53").await.unwrap().0, expected);
    drop(good);
    assert_eq!(served.terminate(), Some(0));
}
