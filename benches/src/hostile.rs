//! Clients that mean harm, or do it: each of these keeps on until it is told to end, and never minds
//! what the server says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tapstone_client::{Client, proto};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::random::Random;

/// What they did, and whether they shall go on.
#[derive(Debug, Default)]
pub struct Harm {
    /// Set when they shall end.
    pub over: AtomicBool,
    /// Streams that were opened and are not read.
    pub streams: AtomicU64,
    /// Connections that sent floods or garbage.
    pub connections: AtomicU64,
    /// Bytes that these sent.
    pub bytes: AtomicU64,
}

/// The start of every HTTP/2 connection: the preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// A connection to a server that does not take what is sent is given up.
const PATIENCE: Duration = Duration::from_millis(200);

/// Asks for everything on so many streams at once, and takes nothing of it; then asks again.
pub async fn hold_streams(client: Client, streams: usize, harm: Arc<Harm>) {
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..streams {
        let (client, harm) = (client.clone(), Arc::clone(&harm));
        held.spawn(async move {
            while !harm.is_over() {
                let selection = Some(proto::Selection::default());
                let request = proto::QueryRequest { selection, ..Default::default() };
                harm.streams.fetch_add(1, Ordering::Relaxed);
                // It is answered with one message, which fills the window, or with a refusal.
                let answer = client.tapstone().query(request).await;
                while answer.is_ok() && !harm.is_over() {
                    sleep(PATIENCE).await;
                }
                sleep(PATIENCE).await;
            }
        });
    }
    while !harm.is_over() {
        sleep(PATIENCE).await;
    }
    held.shutdown().await;
}

/// Takes an answer a message at a time, with long pauses.
pub async fn read_slowly(client: Client, harm: Arc<Harm>) {
    while !harm.is_over() {
        let request = proto::QueryRequest {
            selection: Some(proto::Selection::default()),
            ..Default::default()
        };
        let Ok(answer) = client.tapstone().query(request).await else {
            sleep(PATIENCE).await;
            continue;
        };
        let mut messages = answer.into_inner();
        while !harm.is_over() && matches!(messages.message().await, Ok(Some(_))) {
            sleep(PATIENCE).await;
        }
    }
}

/// Sends a header block that never ends.
pub async fn flood_with_headers(address: SocketAddr, harm: Arc<Harm>) {
    // A header that is not indexed, whose value is longer than the frame: the rest follows.
    let headers = frame(1, 0, 1, &[0x83, 0x86]);
    let more = frame(9, 0, 1, &header(&[b'a'; 8000]));
    let mut start = PREFACE.to_vec();
    start.extend(headers);
    send_again_and_again(address, &start, &more, &harm).await;
}

/// Opens streams and resets them at once.
pub async fn reset_rapidly(address: SocketAddr, harm: Arc<Harm>) {
    let mut block = vec![0x83, 0x86, 0x44, 5];
    block.extend(b"/a/b/");
    let mut turns = Vec::new();
    for stream in (1..2001).step_by(2) {
        turns.extend(frame(1, 0x4, stream, &block));
        turns.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let mut start = PREFACE.to_vec();
    start.extend(&turns);
    send_again_and_again(address, &start, b"", &harm).await;
}

/// Sends what is no HTTP/2 at all.
pub async fn send_garbage(address: SocketAddr, seed: u64, harm: Arc<Harm>) {
    let mut random = Random::new(seed);
    while !harm.is_over() {
        let length = 1 + random.below(20_000) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        if random.below(2) == 0 {
            bytes.splice(0..0, PREFACE.iter().copied());
        }
        send(address, &bytes, b"", &harm).await.ok();
    }
}

async fn send_again_and_again(address: SocketAddr, start: &[u8], more: &[u8], harm: &Harm) {
    while !harm.is_over() {
        send(address, start, more, harm).await.ok();
    }
}

/// Sends until the server closes, or takes no more.
async fn send(address: SocketAddr, start: &[u8], more: &[u8], harm: &Harm) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    harm.connections.fetch_add(1, Ordering::Relaxed);
    let mut piece = start;
    while !harm.is_over() {
        timeout(PATIENCE, stream.write_all(piece)).await??;
        harm.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        piece = more;
        if more.is_empty() {
            break;
        }
    }
    // What it says is taken and not minded.
    let mut answer = [0; 4096];
    while timeout(PATIENCE, stream.read(&mut answer)).await?? > 0 {}
    Ok(())
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header `x: VALUE` that is never indexed (RFC 7541, section 6.2.3); its value has fewer than
/// 16,511 bytes.
fn header(value: &[u8]) -> Vec<u8> {
    let mut header = vec![0x10, 1, b'x', 0x7f];
    let mut rest = value.len() - 127;
    while rest >= 128 {
        header.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    header.push(rest as u8);
    header.extend(value);
    header
}

impl Harm {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}
