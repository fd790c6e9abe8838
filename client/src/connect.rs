//! Reaching a server.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs, io};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};

use crate::address::Address;
use crate::proto::admin_client::AdminClient;
use crate::proto::tapstone_client::TapstoneClient;

/// Most bytes of one message: far more than a server sends.
const MESSAGE_MAX: usize = 64 << 20;
/// Bytes that may be under way to this client: enough to keep a fast network busy.
const WINDOW: u32 = 8 << 20;
/// Bytes of one frame; the default of 16 KiB costs many system calls.
const FRAME: u32 = 1 << 20;
/// How long reaching a server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that does not answer for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How a server knows this client, and this client the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Authorities that vouch for the server (PEM).
    pub ca: Option<PathBuf>,
    /// This client's certificate, and its key (PEM).
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// A bearer token.
    pub token: Option<String>,
}

/// Why a server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A file with a certificate or key cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// TLS is needed, and nothing says whom to trust.
    #[error(
        "nothing says which certificate of {0} to trust; name the authority's file (--ca), or \
         write http://{0} to go without TLS"
    )]
    NoAuthority(Address),
    /// A certificate, key or address does not serve.
    #[error("cannot use TLS with {address}: {}", chain(source))]
    Tls {
        /// The server.
        address: Address,
        /// What is wrong.
        source: tonic::transport::Error,
    },
    /// The token has characters that no token has.
    #[error("the token is not one: it has characters that cannot be sent")]
    Token,
    /// The server does not answer.
    #[error("cannot reach the server at {address}: {}", chain(source))]
    Unreachable {
        /// The server.
        address: Address,
        /// What happened.
        source: tonic::transport::Error,
    },
}

/// An error and its causes: the library's own texts say little.
fn chain(error: &dyn Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let one = error.to_string();
        if !text.contains(&one) {
            text += if text.is_empty() { "" } else { ": " };
            text += &one;
        }
        next = error.source();
    }
    text
}

/// A connection to a server. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    channel: InterceptedService<Channel, Bearer>,
}

/// The service as it is reached.
pub type Reached = InterceptedService<Channel, Bearer>;

/// Adds the token to each request.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl fmt::Debug for Bearer {
    /// A token is nobody else's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer(..)" } else { "Bearer(none)" })
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

impl Client {
    /// Reaches a server.
    ///
    /// # Errors
    ///
    /// When it does not answer, or the credentials do not serve.
    pub async fn connect(
        address: &Address,
        credentials: &Credentials,
    ) -> Result<Client, ConnectError> {
        let token = credentials.token.as_ref().map(|token| {
            let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
            value.map_err(|_| ConnectError::Token)
        });
        let bearer = Bearer(token.transpose()?);
        let channel = match address {
            Address::Unix(path) => unix(address, path).await?,
            Address::Tcp { authority, tls } => tcp(address, authority, *tls, credentials).await?,
        };
        Ok(Client { channel: InterceptedService::new(channel, bearer) })
    }

    /// The connection itself, for other services of the server: health, reflection.
    #[must_use]
    pub fn channel(&self) -> Reached {
        self.channel.clone()
    }

    /// Finding packets, and taking captures in.
    #[must_use]
    pub fn tapstone(&self) -> TapstoneClient<Reached> {
        TapstoneClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }

    /// Looking after the store.
    #[must_use]
    pub fn admin(&self) -> AdminClient<Reached> {
        AdminClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_MAX)
    }
}

fn endpoint(uri: String) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(uri)?
        .user_agent(concat!("tapstone/", env!("CARGO_PKG_VERSION")))?
        .connect_timeout(CONNECT_TIMEOUT)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .max_frame_size(FRAME)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE))
}

async fn unix(address: &Address, path: &Path) -> Result<Channel, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { address: address.clone(), source };
    let path = path.to_owned();
    let connect = tower::service_fn(move |_| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    // The name goes into a header that nobody looks at.
    let endpoint = endpoint("http://tapstone".to_owned()).map_err(unreachable)?;
    endpoint.connect_with_connector(connect).await.map_err(unreachable)
}

async fn tcp(
    address: &Address,
    authority: &str,
    tls: bool,
    credentials: &Credentials,
) -> Result<Channel, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { address: address.clone(), source };
    let scheme = if tls { "https" } else { "http" };
    let mut endpoint = endpoint(format!("{scheme}://{authority}")).map_err(unreachable)?;
    if tls {
        let config = tls_config(address, credentials)?;
        let error = |source| ConnectError::Tls { address: address.clone(), source };
        endpoint = endpoint.tls_config(config).map_err(error)?;
    }
    endpoint.connect().await.map_err(unreachable)
}

fn tls_config(
    address: &Address,
    credentials: &Credentials,
) -> Result<ClientTlsConfig, ConnectError> {
    let Some(ca) = &credentials.ca else {
        return Err(ConnectError::NoAuthority(address.clone()));
    };
    let mut config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    if let Some((certificate, key)) = &credentials.certificate {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(config)
}

fn read(path: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(path).map_err(|source| ConnectError::File { path: path.to_owned(), source })
}
