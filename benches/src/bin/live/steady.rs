//! Recording for long, while somebody asks a question every second.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tapstone_benches::network::{Flows, HEADERS, Network};
use tapstone_benches::served::{Result, ask, quantiles};
use tapstone_client::{Address, Client, Credentials};

use super::recorder::{Recorder, stored};
use super::{Args, PORT, STEADY_SIZE, end, resident_mib};

/// What is kept of it meanwhile.
const KEPT: &str = "20GiB";
/// How far back is asked, in seconds.
const BACK: std::ops::Range<u64> = 2..60;
/// Memory is looked at from then on, in seconds: tables have grown by then.
const WARM: u64 = 60;

/// Whoever records answers by then.
const STARTED_WITHIN: Duration = Duration::from_secs(30);

/// Records at a rate; says what was lost, how long answers took, and how memory did.
pub(super) fn run(network: &Network, args: &Args, rate: u64) -> Result<String> {
    let out = args.folder.join("live");
    fs::remove_dir_all(&out).ok();
    fs::create_dir_all(&out)?;
    let mut command = Recorder::Tapstone.command(network, args, &out);
    let mut child = command
        .args(["--max-size", KEPT])
        .stdin(Stdio::null())
        .stdout(fs::File::create(out.join("stdout"))?)
        .stderr(fs::File::create(out.join("stderr"))?)
        .spawn()?;
    let sent = rate * args.steady;
    let (mut times, mut resident) = (Vec::new(), Vec::new());
    let mut asker = Asker::new(&out.join("store"))?;
    std::thread::scope(|scope| {
        let length = STEADY_SIZE - HEADERS;
        let sender = scope
            .spawn(move || network.send_flows(Flows::Short, PORT, 0..sent, length, Some(rate)));
        let began = Instant::now();
        while !sender.is_finished() {
            std::thread::sleep(Duration::from_secs(1));
            let seconds = began.elapsed().as_secs();
            if seconds > WARM {
                resident.push(resident_mib(&child)?);
            }
            let back = BACK.start + seconds * 7 % (BACK.end - BACK.start);
            if let Some(then) = seconds.checked_sub(back) {
                times.push(asker.ask(&Flows::Short.filter(PORT, then * rate))?);
            }
        }
        sender.join().expect("the sender does not panic")?;
        Result::Ok(())
    })?;
    std::thread::sleep(Duration::from_millis(1000));
    end(&mut child)?;
    let lost = sent - stored(&fs::read_to_string(out.join("stdout"))?)?.min(sent);
    fs::remove_dir_all(&out)?;
    let (least, most) = (resident.iter().min(), resident.iter().max());
    Ok(format!(
        "{} s at {rate}/s of {STEADY_SIZE} bytes: {lost} of {sent} lost; {} answers, first packet {}; \
         {} to {} MiB resident after the first minute",
        args.steady,
        times.len(),
        quantiles(&mut times),
        least.unwrap_or(&0),
        most.unwrap_or(&0),
    ))
}

/// Asks the process that records.
struct Asker {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Asker {
    fn new(store: &Path) -> Result<Asker> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let address = Address::Unix(store.join("socket"));
        let began = Instant::now();
        loop {
            match runtime.block_on(Client::connect(&address, &Credentials::default())) {
                Ok(client) => return Ok(Asker { runtime, client }),
                Err(error) if began.elapsed() > STARTED_WITHIN => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Milliseconds to the first packet; there must be one.
    fn ask(&mut self, filter: &str) -> Result<f64> {
        let (bytes, millis) = self.runtime.block_on(ask(&self.client, filter))?;
        if bytes < STEADY_SIZE as u64 {
            return Err(format!("nothing matches {filter}").into());
        }
        Ok(millis)
    }
}
