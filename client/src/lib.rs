//! A client of a Tapstone server.
//!
//! [`connect`](Client::connect) reaches a server, through TCP or a store's Unix socket; then
//! [`tapstone`](Client::tapstone) and [`admin`](Client::admin) are its services, generated from
//! `proto/tapstone/v1/tapstone.proto`, where every message is explained.
//!
//! ```no_run
//! use tapstone_client::{Client, Credentials, proto};
//! use tapstone_client::proto::query_response::Content;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::connect(&"unix:/var/lib/tapstone/socket".parse()?, &Credentials::default()).await?;
//! let selection = proto::Selection { filter: "tcp port 443".into(), ..Default::default() };
//! let request = proto::QueryRequest { selection: Some(selection), ..Default::default() };
//! let mut answer = client.tapstone().query(request).await?.into_inner();
//! let mut capture = Vec::new();
//! while let Some(message) = answer.message().await? {
//!     match message.content {
//!         Some(Content::Capture(piece)) => capture.extend_from_slice(&piece.content),
//!         Some(Content::Answer(answer)) => println!("{} packets", answer.packets),
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod address;
mod connect;
mod time;

/// The messages and services of `tapstone.v1`.
#[expect(missing_docs, reason = "generated; the .proto file explains it")]
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    reason = "generated"
)]
pub mod proto {
    tonic::include_proto!("tapstone.v1");

    /// The compiled .proto files: what reflection serves.
    pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tapstone.bin"));
}

pub use address::{Address, ParseAddressError};
pub use connect::{Bearer, Client, ConnectError, Credentials, Reached};
pub use time::{duration, instant};
