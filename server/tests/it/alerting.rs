//! Alerts that are sent to a webhook.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::served::{Served, limit_address_space};
use crate::serving::stored;
use crate::watching::{get, metric};

/// What a receiver does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// It answers so.
    Answers(u16),
    /// It says nothing.
    Hangs,
}

/// Takes requests: what it does with the first ones, in order; all others it takes.
struct Webhook {
    address: String,
    requests: Receiver<(Does, Instant, Request)>,
}

#[derive(Debug)]
struct Request {
    line: String,
    headers: Vec<String>,
    body: Value,
}

impl Webhook {
    fn start(first: &[Does]) -> Webhook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        let mut first: VecDeque<Does> = first.iter().copied().collect();
        std::thread::spawn(move || {
            // Those that hang stay open.
            let mut open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = Request::read(&mut stream);
                let does = first.pop_front().unwrap_or(Does::Answers(204));
                match does {
                    Does::Answers(status) => write!(
                        stream,
                        "HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    .unwrap(),
                    Does::Hangs => open.push(stream),
                }
                if sender.send((does, Instant::now(), request)).is_err() {
                    return;
                }
            }
        });
        Webhook { address, requests }
    }

    fn next(&self) -> (Does, Instant, Request) {
        self.requests.recv_timeout(Duration::from_secs(60)).unwrap()
    }
}

impl Request {
    fn read(stream: &mut TcpStream) -> Request {
        let mut stream = BufReader::new(stream);
        let lines = (&mut stream).lines().map(Result::unwrap);
        let mut headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        let line = headers.remove(0);
        headers.iter_mut().for_each(|it| *it = it.to_lowercase());
        let length = headers.iter().find_map(|it| it.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        Request { line, headers, body: serde_json::from_slice(&body).unwrap() }
    }
}

/// A server whose store is pressed by a limit on its address space, and nothing else.
struct Pressed {
    served: Served,
    monitor: String,
    _dir: tempfile::TempDir,
}

impl Pressed {
    fn start(webhook: &str) -> Pressed {
        let dir = stored(1 << 20);
        let settings = [
            "state.memory=80%,86%,97%,100%",
            "state.dwell=300ms",
            "state.step=300ms",
            "state.sustained=1s",
            &format!("state.webhook={webhook}"),
        ];
        let words = settings.iter().flat_map(|it| ["--set", it]);
        let more = ["--keep-free", "1", "--monitor", "127.0.0.1:0"];
        let words: Vec<&str> = words.chain(more).collect();
        let served = Served::start_with(&dir.path().join("s"), &words);
        let monitor = served.address_after("metrics and health on http://");
        served.wait_for("NORMAL / OptimalFlow / IndexActive");
        Pressed { served, monitor, _dir: dir }
    }

    fn press(&self, hundredths: u64) {
        limit_address_space(self.served.child.id(), hundredths);
    }

    fn metric(&self, name: &str) -> u64 {
        metric(&get(&self.monitor, "/metrics").1, name) as u64
    }
}

#[test]
fn who_is_named_is_told_that_a_store_is_degraded_and_that_it_is_over() {
    let webhook = Webhook::start(&[]);
    let pressed = Pressed::start(&format!("{}/hook?key=7", webhook.address));
    pressed.served.wait_for(&format!("alerts go to {}", webhook.address));
    assert_eq!(pressed.metric("tapstone_alert"), 0);
    pressed.press(93);
    let (.., request) = webhook.next();
    assert_eq!(request.line, "POST /hook?key=7 HTTP/1.1");
    assert!(request.headers.contains(&"content-type: application/json".to_owned()), "{request:?}");
    let raised = request.body;
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for (name, expected) in [
        ("version", Value::from(1)),
        ("event", "raised".into()),
        ("urgency", "notice".into()),
        ("source", "memory".into()),
        ("host", hostname.trim().into()),
    ] {
        assert_eq!(raised[name], expected, "{name} of {raised:#}");
    }
    let text = |of: &Value| of.as_str().unwrap().to_owned();
    assert!(text(&raised["state"]).starts_with("DEGRADED / PartialCapture"), "{raised:#}");
    assert!(text(&raised["reading"]["text"]).contains("of the memory is used"), "{raised:#}");
    assert!(raised["reading"]["used"].as_f64().unwrap() > 0.86, "{raised:#}");
    assert!(text(&raised["estimate"]["text"]).len() > 10, "{raised:#}");
    assert!(text(&raised["since"]) <= text(&raised["at"]), "{raised:#}");
    assert_eq!(text(&raised["store"]).len(), 32, "{raised:#}");
    assert_eq!(pressed.metric("tapstone_alert"), 1);
    pressed.press(0);
    let (.., Request { body: ended, .. }) = webhook.next();
    assert_eq!((&ended["event"], &ended["urgency"]), (&"ended".into(), &"notice".into()));
    assert_eq!((&ended["since"], &ended["store"]), (&raised["since"], &raised["store"]));
    assert!(text(&ended["state"]).starts_with("PRESSURE"), "{ended:#}");
    pressed.served.wait_for("NORMAL / OptimalFlow");
    // It is counted once the answer has come.
    let began = Instant::now();
    while pressed.metric("tapstone_alerts_total{outcome=\"delivered\"}") != 2 {
        assert!(began.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(50));
    }
    // What is behind the host may be a secret.
    assert_eq!(pressed.served.times("key=7"), 0);
    assert_eq!(pressed.served.terminate(), Some(0));
}

#[test]
fn an_alert_is_tried_again_where_nobody_answers_and_where_it_is_refused() {
    let webhook = Webhook::start(&[Does::Hangs, Does::Answers(500), Does::Answers(200)]);
    let pressed = Pressed::start(&webhook.address);
    pressed.press(93);
    let tries = [webhook.next(), webhook.next(), webhook.next()];
    let [hung, refused, taken] = &tries;
    assert_eq!((hung.0, refused.0, taken.0), (Does::Hangs, Does::Answers(500), Does::Answers(200)));
    assert!(hung.2.body == refused.2.body && refused.2.body == taken.2.body, "{tries:#?}");
    // The pause doubles; the one that hung had five seconds.
    assert!(refused.1 - hung.1 >= Duration::from_secs(6), "{tries:#?}");
    assert!((2..6).contains(&(taken.1 - refused.1).as_secs()), "{tries:#?}");
    pressed.served.wait_for("it did not answer within 5s");
    pressed.served.wait_for("it answered 500");
    pressed.served.wait_for("an alert was delivered");
    // Meanwhile the gauges were read all the time.
    let transitions = pressed.metric("tapstone_transitions_total");
    pressed.press(0);
    let (.., Request { body: ended, .. }) = webhook.next();
    assert_eq!(ended["event"], "ended");
    assert!(pressed.metric("tapstone_transitions_total") > transitions);
    assert_eq!(pressed.served.terminate(), Some(0));
}

/// The server ends in time, and says what it leaves.
#[test]
fn an_alert_that_nobody_takes_does_not_keep_the_server() {
    let webhook = Webhook::start(&[Does::Hangs; 20]);
    let pressed = Pressed::start(&webhook.address);
    pressed.press(93);
    webhook.next();
    let Pressed { served, _dir, .. } = pressed;
    let log = served.log();
    let began = Instant::now();
    assert_eq!(served.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let log = log.lock().unwrap();
    assert!(log.iter().any(|line| line.contains("1 alerts were not delivered")), "{log:#?}");
}
