//! A server process that is measured, and a client's side of the measure.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tapstone_client::proto::query_response::Content;
use tapstone_client::{Client, proto};

/// What measuring gives, or why it could not be done.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A server process; killed when dropped.
#[derive(Debug)]
pub struct Server(Child);

impl Server {
    /// Serves a store, with more words perhaps, and waits until it can be reached.
    ///
    /// # Errors
    ///
    /// When it cannot be started, or ends at once.
    pub fn start(tapstone: &Path, store: &Path, words: &[&str]) -> Result<Server> {
        let mut command = Command::new(tapstone);
        command.args(["serve", "--store"]).arg(store).args(words).stderr(Stdio::null());
        let mut server = Server(command.spawn()?);
        while !store.join("socket").try_exists()? {
            if let Some(status) = server.0.try_wait()? {
                return Err(format!("the server ended with {status}").into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// The most memory that it had so far.
    ///
    /// # Errors
    ///
    /// When the system does not say, since it has ended.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|it| it.split_whitespace().next()).ok_or("no VmHWM")?;
        Ok(kib.parse::<f64>()? / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A configuration that knows someone who may retrieve packets by a token; gives its file and the
/// token.
///
/// # Errors
///
/// When no token is made, or the file cannot be.
pub fn known_by_token(tapstone: &Path, folder: &Path) -> Result<(String, String)> {
    let words = ["token", "friend", "--role", "packet-retrieval", "--json"];
    let made = Command::new(tapstone).args(words).output()?;
    let made: serde_json::Value = serde_json::from_slice(&made.stdout)?;
    let hash = &made["hash"];
    let identity = format!(
        "[[identity]]\nname = \"friend\"\ntoken = {hash}\nroles = [\"packet-retrieval\"]\n"
    );
    let config = folder.join("server.toml");
    fs::write(&config, identity)?;
    let token = made["token"].as_str().ok_or("no token was made")?;
    Ok((config.display().to_string(), token.to_owned()))
}

/// Everything that a filter matches.
#[must_use]
pub fn selection(filter: &str) -> Option<proto::Selection> {
    Some(proto::Selection { filter: filter.to_owned(), ..Default::default() })
}

/// Asks for packets; gives their bytes as a capture, and milliseconds to the first of them.
///
/// # Errors
///
/// What the server says.
pub async fn ask(client: &Client, filter: &str) -> Result<(u64, f64)> {
    let began = Instant::now();
    let request = proto::QueryRequest { selection: selection(filter), ..Default::default() };
    let mut messages = client.tapstone().query(request).await?.into_inner();
    let (mut bytes, mut first) = (0, None);
    while let Some(message) = messages.message().await? {
        first.get_or_insert_with(|| began.elapsed().as_secs_f64() * 1000.0);
        if let Some(Content::Capture(piece)) = message.content {
            bytes += piece.content.len() as u64;
        }
    }
    Ok((bytes, first.ok_or("an answer without a message")?))
}

/// A share of times are not longer than this.
#[must_use]
pub fn quantile(times: &mut [f64], share: f64) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN)
}

/// Median and 99th of a hundred.
#[must_use]
pub fn quantiles(times: &mut [f64]) -> String {
    format!("p50 {:.1} ms, p99 {:.1} ms", quantile(times, 0.5), quantile(times, 0.99))
}
