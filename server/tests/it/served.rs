//! A server process for tests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tapstone_client::{Address, Client, Credentials};

/// A server that has a store open; killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    /// What it listens on besides the Unix socket.
    pub(crate) address: Address,
    socket: Address,
    /// What it said.
    log: Arc<Mutex<Vec<String>>>,
}

impl Served {
    /// Serves a store, and waits until it answers.
    pub(crate) fn start(store: &Path) -> Served {
        Served::start_with(store, &[])
    }

    /// The same with more words.
    pub(crate) fn start_with(store: &Path, words: &[&str]) -> Served {
        let mut child = Command::new(assert_cmd::cargo::cargo_bin!("tapstone"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store"])
            .arg(store)
            .args(words)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&log);
        // It must never wait for somebody to read what it says.
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| heard.lock().unwrap().push(line));
        });
        let socket = Address::Unix(store.join("socket"));
        let mut served = Served { child, address: socket.clone(), socket, log };
        served.address = served.address_after("serving on ").parse().unwrap();
        served
    }

    /// The first line of its log that has these words; waits for it.
    pub(crate) fn wait_for(&self, words: &str) -> String {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            let log = self.log.lock().unwrap();
            if let Some(line) = log.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            drop(log);
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it never said {words:?}, but {:#?}", self.log.lock().unwrap());
    }

    /// How many lines of its log have these words.
    pub(crate) fn times(&self, words: &str) -> usize {
        self.log.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    /// What it says, also after it has ended.
    pub(crate) fn log(&self) -> Arc<Mutex<Vec<String>>> {
        Arc::clone(&self.log)
    }

    /// The address that its log has behind these words.
    pub(crate) fn address_after(&self, words: &str) -> String {
        let line = self.wait_for(words);
        let (_, behind) = line.split_once(words).unwrap();
        behind.split(['"', ' ']).next().unwrap().to_owned()
    }

    /// A client through the Unix socket.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.socket, &Credentials::default()).await.unwrap()
    }

    /// Ends it as an operator would; gives its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the server does not end");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Limits the address space of a process so that so many hundredths are used from now on; not at all
/// for 0.
pub(crate) fn limit_address_space(process: u32, hundredths: u64) {
    let pid = process.to_string();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
    let kib: u64 = size.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    let limit = match hundredths {
        0 => "unlimited".to_owned(),
        some => (kib * 1024 / some * 100).to_string(),
    };
    let words = ["--pid", &pid, &format!("--as={limit}:unlimited")];
    assert!(Command::new("prlimit").args(words).status().unwrap().success());
}
