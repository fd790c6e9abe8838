//! Recording for long, while somebody asks a question every second.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tapstone_benches::network::{Flows, Network};
use tapstone_benches::served::{Result, ask, quantiles};
use tapstone_client::{Address, Client, Credentials, proto};

use super::recorder::{Recorder, stored};
use super::{Args, PORT, STEADY_SIZE, end, resident_mib, traffic};

/// What is kept of it meanwhile.
const KEPT: &str = "20GiB";
/// How far back is asked, in seconds.
const BACK: std::ops::Range<u64> = 2..60;
/// Memory is looked at from then on, in seconds: tables have grown by then.
const WARM: u64 = 60;

/// Who waits longer than that is told of.
const SLOW_MILLIS: f64 = 100.0;
/// Of so many parts of the time the most memory is told.
const PARTS: usize = 6;

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
    let (mut times, mut unanswered, mut resident) = (Vec::new(), 0, Vec::new());
    let mut notes = Notes::default();
    let mut asker = Asker::new(&out.join("store"))?;
    std::thread::scope(|scope| {
        let sender =
            scope.spawn(move || network.send_traffic(traffic(STEADY_SIZE), 0..sent, Some(rate)));
        let began = Instant::now();
        while !sender.is_finished() {
            std::thread::sleep(Duration::from_secs(1));
            let seconds = began.elapsed().as_secs();
            let resident_now = resident_mib(&child)?;
            if seconds > WARM {
                resident.push(resident_now);
            }
            let info = asker.info()?;
            notes.look(&info, seconds, resident_now);
            let back = BACK.start + seconds * 7 % (BACK.end - BACK.start);
            if let Some(then) = seconds.checked_sub(back) {
                match asker.ask(&Flows::Short.filter(PORT, then * rate))? {
                    Some(millis) => {
                        times.push(millis);
                        notes.answered(&info, (seconds, back), millis);
                    }
                    None => unanswered += 1,
                }
            }
        }
        sender.join().expect("the sender does not panic")?;
        Result::Ok(())
    })?;
    std::thread::sleep(Duration::from_millis(1000));
    end(&mut child)?;
    let lost = sent - stored(&fs::read_to_string(out.join("stdout"))?)?.min(sent);
    fs::remove_dir_all(&out)?;
    // It comes and goes with each segment's table of flows.
    let peaks =
        resident.chunks(resident.len().div_ceil(PARTS).max(1)).map(|part| part.iter().max());
    let peaks: Vec<String> = peaks.flatten().map(u64::to_string).collect();
    Ok(format!(
        "{} s at {rate}/s of {STEADY_SIZE} bytes: {lost} of {sent} lost; {} answers, {unanswered} without \
         packets, first packet {}; after the first minute at most {} MiB resident in each part of the time; \
         at most {} segments without their index{}",
        args.steady,
        times.len(),
        quantiles(&mut times),
        peaks.join(", "),
        notes.unindexed,
        notes.seen,
    ))
}

/// When packets were lost or somebody waited, and how it stood then.
#[derive(Default)]
struct Notes {
    lost: BTreeMap<String, u64>,
    /// The most sealed segments that waited for their index.
    unindexed: u64,
    /// A line for each second in which some were lost, and for each slow answer.
    seen: String,
}

impl Notes {
    fn answered(&mut self, info: &proto::InfoResponse, (seconds, back): (u64, u64), millis: f64) {
        if millis > SLOW_MILLIS {
            self.seen += &format!(
                "\n  at {seconds} s: {millis:.0} ms for what came {back} s before, with {} segments \
                 without their index",
                info.unindexed,
            );
        }
    }

    fn look(&mut self, info: &proto::InfoResponse, seconds: u64, resident_mib: u64) {
        self.unindexed = self.unindexed.max(info.unindexed);
        for it in info.captures.iter().flat_map(|capture| &capture.lost) {
            let before = self.lost.insert(it.cause.clone(), it.packets).unwrap_or(0);
            if it.packets > before {
                self.seen += &format!(
                    "\n  at {seconds} s: {} lost, {}, with {} segments without their index, {} and \
                     {resident_mib} MiB",
                    it.packets - before,
                    it.cause,
                    info.unindexed,
                    info.state,
                );
            }
        }
    }
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

    fn info(&mut self) -> Result<proto::InfoResponse> {
        let answer = self.runtime.block_on(self.client.tapstone().info(proto::InfoRequest {}))?;
        Ok(answer.into_inner())
    }

    /// Milliseconds to the first packet; `None` where there is none, since it was lost.
    fn ask(&mut self, filter: &str) -> Result<Option<f64>> {
        let (bytes, millis) = self.runtime.block_on(ask(&self.client, filter))?;
        Ok((bytes >= STEADY_SIZE as u64).then_some(millis))
    }
}
