use std::fs;

use super::*;

fn file(text: &str) -> (tempfile::NamedTempFile, ConfigSources) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let config = Some(file.path().to_owned());
    (file, ConfigSources { config, ..ConfigSources::default() })
}

fn read(text: &str) -> Result<Loaded, ConfigError> {
    let (_file, sources) = file(text);
    Loaded::layered(&sources, [])
}

fn variables(them: &[(&str, &str)]) -> Vec<(String, String)> {
    them.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn what_is_not_set_has_its_default_and_what_is_unknown_is_refused() {
    let loaded = read("[limits]\nscans = 2\n[listen]\naddresses = [\"127.0.0.1:1\"]").unwrap();
    assert_eq!(loaded.config.limits, Limits { scans: 2, ..Limits::default() });
    assert!(loaded.config.check().is_ok());
    let error = read("[limits]\nscan = 2").unwrap_err().to_string();
    assert!(error.contains("scan") && error.contains("line 2"), "{error}");
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_touched() {
    let refused = [
        ("[[identity]]\nname = \"x\"\nroles = [\"king\"]", "king"),
        ("[listen]\naddresses = [\"0.0.0.0:1\"]", "without TLS"),
        ("[listen.tls]\ncertificate = \"/none\"\nkey = \"/none\"", "/none"),
        ("[limits]\nplans = 0", "limits.plans = 0"),
        ("[state]\nmemory = [\"90%\", \"85%\", \"92%\", \"97%\"]", "memory: low (90.0 %)"),
        ("[audit]\narchive_folder = \"here\"", "archive_folder: here must be"),
        ("[state]\nwebhook = \"pager.example/x\"", "state.webhook: "),
        ("[state]\nwebhook_ca = \"/none\"", "state.webhook_ca is set"),
        ("[backup]\nfolder = \"backups\"", "backup.folder: backups is no path from the root"),
        ("[maintenance]\nscrub_share = \"0%\"", "scrub_share: '0%'"),
        ("[log]\nlevel = \"loud=very\"", "loud=very"),
        ("[traces]\nendpoint = \"127.0.0.1:4317\"", "http://HOST:PORT"),
    ];
    for (text, reason) in refused {
        let error = read(text).unwrap().config.check().unwrap_err().to_string();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn the_default_file_sets_nothing_and_tells_every_default() {
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    assert_eq!(toml::from_str::<Config>(DEFAULT_FILE).unwrap(), Config::default());
    // With every setting uncommented it is a configuration whose values are the defaults, or
    // examples of what has none.
    let is_setting = |line: &str| line.starts_with('[') || line.parse::<toml::Table>().is_ok();
    let lines = DEFAULT_FILE.lines().map(|line| match line.strip_prefix("# ") {
        Some(setting) if is_setting(setting) => setting,
        _ => line,
    });
    let whole: Config = toml::from_str(&lines.collect::<Vec<_>>().join("\n")).unwrap();
    let whole = toml::Table::try_from(whole).unwrap();
    let mut known = 0;
    for key in keys() {
        let find = |table: &toml::Table| {
            let whole = Some(toml::Value::Table(table.clone()));
            key.path.split('.').fold(whole, |value, name| value?.get(name).cloned())
        };
        assert_eq!(find(&whole).as_ref(), Some(&key.shown), "{}", key.path);
        if let Some(default) = find(&defaults) {
            assert_eq!(default, key.shown, "{}", key.path);
            known += 1;
        }
    }
    let settings = |table: &toml::Table| -> usize {
        let tables = table.values().filter_map(toml::Value::as_table);
        tables.map(toml::Table::len).sum()
    };
    assert_eq!(known, settings(&defaults), "a setting is missing in the default file");
}

#[test]
fn the_environment_is_over_the_file_and_the_command_line_over_both() {
    let text = "[limits]\nscans = 2\nplans = 3\nflows = 5\n[log]\nformat = \"json\"";
    let (_file, mut sources) = file(text);
    sources.set = vec!["limits.flows=7".to_owned(), "listen.socket_mode=0o660".to_owned()];
    sources.listen = vec!["127.0.0.1:1".parse().unwrap()];
    let set = [
        ("TAPSTONE_LIMITS_PLANS", "4"),
        ("TAPSTONE_LIMITS_FLOWS", "6"),
        ("TAPSTONE_LISTEN_ADDRESSES", "127.0.0.1:2, 127.0.0.1:3"),
        ("TAPSTONE_LOG_LEVEL", "debug"),
        ("TAPSTONE_SERVER", "elsewhere"),
        ("PATH", "/bin"),
    ];
    let loaded = Loaded::layered(&sources, variables(&set)).unwrap();
    let Config { limits, listen, log, .. } = &loaded.config;
    assert_eq!((limits.scans, limits.plans, limits.flows), (2, 4, 7));
    assert_eq!(listen.addresses, sources.listen);
    assert_eq!((listen.socket_mode, log.level.as_str()), (Some(0o660), "debug"));
    let origin = |path| loaded.value(path).1.map(|it| it.describe(Some("f")));
    assert_eq!(origin("limits.scans").as_deref(), Some("f:2"));
    assert_eq!(origin("log.format").as_deref(), Some("f:6"));
    assert_eq!(origin("limits.plans").as_deref(), Some("TAPSTONE_LIMITS_PLANS"));
    assert_eq!(origin("limits.flows").as_deref(), Some("--set"));
    assert_eq!(origin("listen.addresses").as_deref(), Some("--listen"));
    assert_eq!(
        (origin("limits.needles"), loaded.value("limits.needles").0),
        (None, Some(64.into()))
    );
    assert_eq!(loaded.value("monitoring.address"), (None, None));
}

#[test]
fn what_is_over_the_file_is_told_by_where_it_is_from() {
    let of_environment = |name, value| {
        let loaded = Loaded::layered(&ConfigSources::default(), variables(&[(name, value)]));
        loaded.unwrap_err().to_string()
    };
    let error = of_environment("TAPSTONE_LIMITS_SCAN", "2");
    assert!(error.starts_with("TAPSTONE_LIMITS_SCAN: there is no such setting"), "{error}");
    let error = of_environment("TAPSTONE_LIMITS_SCANS", "many");
    assert!(error.starts_with("TAPSTONE_LIMITS_SCANS: \"many\" is not a number"), "{error}");
    let error = of_environment("TAPSTONE_LISTEN_ADDRESSES", "here");
    assert!(error.contains("TAPSTONE_LISTEN_ADDRESSES") && error.contains("address"), "{error}");
    for (typed, reason) in [("limits", "NAME=VALUE"), ("limit.scans=1", "limit.scans")] {
        let sources = ConfigSources { set: vec![typed.to_owned()], ..ConfigSources::default() };
        let error = Loaded::layered(&sources, []).unwrap_err().to_string();
        assert!(error.starts_with("--set") && error.contains(reason), "{error}");
    }
}
