//! Who may do what, through a real server: roles, methods, and ways to come along.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use tapstone_client::proto::{InfoRequest, InfoResponse};
use tonic::client::Grpc;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Status};

use crate::run;
use crate::served::Served;

const METHODS: [(&str, &[&str]); 22] = [
    ("/tapstone.v1.Tapstone/Query", &["packet-retrieval"]),
    ("/tapstone.v1.Tapstone/Count", &["metadata-search", "packet-retrieval"]),
    ("/tapstone.v1.Tapstone/Histogram", &["metadata-search", "packet-retrieval"]),
    ("/tapstone.v1.Tapstone/Flows", &["metadata-search", "packet-retrieval"]),
    ("/tapstone.v1.Tapstone/Info", &["metadata-search", "packet-retrieval", "operator", "auditor"]),
    (
        "/tapstone.v1.Tapstone/State",
        &["metadata-search", "packet-retrieval", "operator", "auditor"],
    ),
    ("/tapstone.v1.Tapstone/Import", &["operator"]),
    ("/tapstone.v1.Admin/Flush", &["operator"]),
    ("/tapstone.v1.Admin/Seal", &["operator"]),
    ("/tapstone.v1.Admin/Check", &["operator"]),
    ("/tapstone.v1.Admin/Cleanup", &["operator"]),
    ("/tapstone.v1.Admin/Scrub", &["operator"]),
    ("/tapstone.v1.Admin/AddHold", &["custodian"]),
    ("/tapstone.v1.Admin/RemoveHold", &["custodian"]),
    ("/tapstone.v1.Admin/ListHolds", &["operator", "custodian", "auditor"]),
    ("/tapstone.v1.Admin/AcceptHolds", &["custodian"]),
    ("/tapstone.v1.Admin/Report", &["auditor"]),
    ("/tapstone.v1.Admin/Backup", &["operator"]),
    ("/tapstone.v1.Tapstone/Nothing", &[]),
    ("/tapstone.v2.Tapstone/Query", &[]),
    ("/grpc.health.v1.Health/Check", &["anyone"]),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", &["anyone known"]),
];
const ROLES: [&str; 5] =
    ["metadata-search", "packet-retrieval", "operator", "custodian", "auditor"];

/// An authority, and what it vouches for.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A certificate and its key, as PEM.
    fn issue(&self, name: SanType, last_year: i32) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        params.not_after = date_time_ymd(last_year, 1, 1);
        (params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem())
    }

    fn user(&self, role: &str, last_year: i32) -> (String, String) {
        let name = format!("{role}@example.com");
        self.issue(SanType::Rfc822Name(name.as_str().try_into().unwrap()), last_year)
    }
}

/// A way to come along.
struct Way {
    name: String,
    token: Option<String>,
    certificate: Option<(String, String)>,
    /// The role that it proves, if any.
    role: Option<&'static str>,
    /// Whether it gets through the handshake.
    enters: bool,
}

fn ways(own: &Authority, foreign: &Authority, tokens: &BTreeMap<&'static str, String>) -> Vec<Way> {
    let way = |name: &str, token: Option<&str>, certificate, role, enters| Way {
        name: name.to_owned(),
        token: token.map(str::to_owned),
        certificate,
        role,
        enters,
    };
    let unknown = format!("tapstone_{}", "A".repeat(43));
    let mut ways = vec![
        way("nothing", None, None, None, true),
        way("an unknown token", Some(&unknown), None, None, true),
        way("no token at all", Some("x"), None, None, true),
        way("nobody's certificate", None, Some(own.user("nobody", 2100)), None, true),
    ];
    for role in ROLES {
        ways.push(way("a token", Some(&tokens[role]), None, Some(role), true));
        ways.push(way("a certificate", None, Some(own.user(role, 2100)), Some(role), true));
        ways.push(way("an expired one", None, Some(own.user(role, 2001)), None, false));
        ways.push(way("one of a wrong CA", None, Some(foreign.user(role, 2100)), None, false));
        let other = ROLES.into_iter().find(|it| *it != role).map(|it| own.user(it, 2100));
        ways.push(way(
            "a token behind another's certificate",
            Some(&tokens[role]),
            other,
            None,
            true,
        ));
    }
    ways
}

/// A server with an identity for each role, known by a token or a certificate.
fn serve(dir: &Path, own: &Authority) -> (Served, BTreeMap<&'static str, String>) {
    let server = own.issue(SanType::IpAddress([127, 0, 0, 1].into()), 2100);
    fs::write(dir.join("server.pem"), server.0).unwrap();
    fs::write(dir.join("server.key"), server.1).unwrap();
    fs::write(dir.join("ca.pem"), own.0.pem()).unwrap();
    let path = |name: &str| dir.join(name).display().to_string();
    let mut config = format!(
        "[listen.tls]\ncertificate = {:?}\nkey = {:?}\nclient_ca = {:?}\n",
        path("server.pem"),
        path("server.key"),
        path("ca.pem"),
    );
    let mut tokens = BTreeMap::new();
    for role in ROLES {
        let (code, out, error) = run(dir, &["token", role, "--role", role, "--json"]);
        assert_eq!(code, 0, "{error}");
        let made: serde_json::Value = serde_json::from_str(&out).unwrap();
        tokens.insert(role, made["token"].as_str().unwrap().to_owned());
        config += &format!(
            "[[identity]]\nname = \"{role}\"\nroles = [\"{role}\"]\ntoken = {}\n\
             certificate = \"{role}@example.com\"\n",
            made["hash"],
        );
    }
    fs::write(dir.join("config.toml"), config).unwrap();
    (Served::start_with(&dir.join("s"), &["--config", &path("config.toml")]), tokens)
}

async fn connect(served: &Served, ca: &str, way: &Way) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    if let Some((certificate, key)) = &way.certificate {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", served.address)).unwrap();
    endpoint.tls_config(tls)?.connect().await
}

/// Calls a method, whatever its messages are: an empty one is any request.
async fn call(channel: &Channel, path: &'static str, token: Option<&str>) -> Result<(), Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(InfoRequest {});
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let codec = tonic_prost::ProstCodec::<InfoRequest, InfoResponse>::default();
    grpc.unary(request, http::uri::PathAndQuery::from_static(path), codec).await.map(drop)
}

#[tokio::test]
async fn every_role_may_do_what_it_is_there_for_and_nothing_else_however_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (own, foreign) = (Authority::new(), Authority::new());
    let (served, tokens) = serve(dir.path(), &own);
    let (mut cells, mut refusals, mut leaks) = (0, 0, Vec::new());
    for way in ways(&own, &foreign, &tokens) {
        let channel = connect(&served, &own.0.pem(), &way).await;
        for (path, roles) in METHODS {
            cells += 1;
            let outcome = match &channel {
                Ok(channel) => call(channel, path, way.token.as_deref()).await,
                Err(error) => Err(Status::unavailable(error.to_string())),
            };
            let code = outcome.as_ref().err().map(Status::code);
            let refused = matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied));
            let allowed = way.enters
                && (way
                    .role
                    .is_some_and(|role| roles.contains(&role) || roles == ["anyone known"])
                    || roles == ["anyone"]);
            if !way.enters {
                // TLS 1.3 tells a client that it was turned away with its first call.
                let is_out = code.is_some_and(|code| {
                    matches!(code, Code::Unavailable | Code::Unknown | Code::Cancelled)
                });
                assert!(is_out, "{} {path}: {outcome:?}", way.name);
            } else if allowed == refused {
                leaks.push(format!("{} as {:?}, {path}: {outcome:?}", way.name, way.role));
            } else {
                refusals += u64::from(refused);
            }
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
    println!("cells: {cells}, refusals: {refusals}, leaks: 0");
    assert!(cells > 300 && refusals > 150);

    let (code, out, error) = run(dir.path(), &["audit", "show", "--store", "s", "--json"]);
    assert_eq!(code, 0, "{error}");
    let told = out.lines().filter(|line| line.contains(r#""event":"refused""#)).count() as u64;
    assert_eq!(told, refusals);
    let (code, out, _) = run(dir.path(), &["audit", "verify", "--store", "s"]);
    assert!(code == 0 && out.contains("sound"), "{out}");
    // No secret is in it.
    let (_, out, _) = run(dir.path(), &["audit", "show", "--store", "s"]);
    assert!(tokens.values().all(|token| !out.contains(token.as_str())));
}

/// A store, and a server of it where only `ann` is known, who may see packets of one net.
struct Scoped {
    dir: tempfile::TempDir,
    served: Served,
    token: String,
    /// How many packets she may see.
    within: u64,
}

impl Scoped {
    fn start() -> Scoped {
        let dir = tempfile::tempdir().unwrap();
        let mut file = fs::File::create(dir.path().join("a.pcap")).unwrap();
        let workload = tapstone_benches::workload::Workload::short_flows(1 << 20, 4);
        workload.write(&mut file).unwrap();
        let (code, ..) = run(dir.path(), &["import", "--store", "s", "a.pcap"]);
        assert_eq!(code, 0);
        let count = |filter: &str| {
            let (_, out, _) = run(dir.path(), &["query", "--store", "s", "--count", filter]);
            out.trim().parse::<u64>().unwrap()
        };
        let (all, within) = (count(""), count("net 10.0.0.0/20"));
        assert!(0 < within && within < all, "{within} of {all}");
        let words = ["token", "ann", "--role", "packet-retrieval", "--json"];
        let (_, out, _) = run(dir.path(), &words);
        let made: serde_json::Value = serde_json::from_str(&out).unwrap();
        let config = format!(
            "[[identity]]\nname = \"ann\"\nroles = [\"packet-retrieval\"]\ntoken = {}\n\
             nets = [\"10.0.0.0/20\"]\n",
            made["hash"],
        );
        let path = dir.path().join("c.toml");
        fs::write(&path, &config).unwrap();
        let words = ["--config", path.to_str().unwrap()];
        let served = Served::start_with(&dir.path().join("s"), &words);
        let token = made["token"].as_str().unwrap().to_owned();
        Scoped { dir, served, token, within }
    }

    /// What a command of hers says.
    fn ask(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let mut command = crate::tapstone(self.dir.path());
        let server = format!("http://{}", self.served.address);
        command.args(&words[..1]).args(["--server", &server]).args(&words[1..]);
        let output = command.env("TAPSTONE_TOKEN", &self.token).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}

#[test]
fn a_scope_holds_in_every_search_and_is_told_to_the_audit_log() {
    let scoped = Scoped::start();
    let within = scoped.within;
    for filter in ["", "not vlan"] {
        let (code, out, error) = scoped.ask(&["query", "--count", filter]);
        assert_eq!((code, out.trim()), (Some(0), within.to_string().as_str()), "{error}");
    }
    let (_, out, _) = scoped.ask(&["query", "--json"]);
    assert_eq!(out.lines().count() as u64, within);
    let sum = |line: &str| {
        serde_json::from_str::<serde_json::Value>(line).unwrap()["packets"].as_u64().unwrap()
    };
    for command in ["histogram", "flows"] {
        let (code, out, error) = scoped.ask(&[command, "--json"]);
        assert_eq!((code, out.lines().map(sum).sum()), (Some(0), within), "{error}");
    }
    let (code, _, error) = scoped.ask(&["query", "--count", "tcp) or (udp"]);
    assert!(code == Some(2) && error.contains("syntax"), "{error}");
    let (code, _, error) = scoped.ask(&["seal"]);
    assert!(code == Some(4) && error.contains("do not include"), "{error}");

    let (_, out, _) = run(scoped.dir.path(), &["audit", "show", "--store", "s", "--json"]);
    let entries: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let asked = entries.iter().find(|it| it["entry"]["method"] == "Query").unwrap();
    assert_eq!(asked["entry"]["identity"], "ann");
    assert!(asked["entry"]["query"]["within"].as_str().unwrap().contains("10.0.0.0/20"));
    let answer = entries.iter().find(|it| it["entry"]["of"] == asked["sequence"]).unwrap();
    assert_eq!(answer["entry"]["outcome"], "complete");
    assert_eq!(answer["entry"]["packets"], within);
}

#[test]
fn identities_are_read_anew_and_a_broken_file_changes_nothing() {
    let scoped = Scoped::start();
    let hangup = || {
        let pid = scoped.served.child.id().to_string();
        let kill = std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap();
        assert!(kill.success());
        std::thread::sleep(std::time::Duration::from_millis(300));
    };
    fs::write(scoped.dir.path().join("c.toml"), "[[identity]]\nname = 5").unwrap();
    hangup();
    assert_eq!(scoped.ask(&["query", "--count"]).0, Some(0));
    fs::write(scoped.dir.path().join("c.toml"), "").unwrap();
    hangup();
    let (code, out, error) = scoped.ask(&["query", "--count"]);
    assert!(code == Some(4) && out.is_empty(), "{out} {error}");
}
