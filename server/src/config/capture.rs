//! What is left out on arrival, as it is configured.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tapstone::{CutOff, Thinning};

use crate::quantity;

/// The longest window within which duplicates are looked for: what is remembered is bounded.
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// What is left out of live packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct CaptureSettings {
    /// Classes of flows, and how much of each is stored: `tcp port 443=64KiB`.
    pub(crate) cutoff: Vec<String>,
    /// How long after a packet the same bytes are left out: `50ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dedup: Option<String>,
    /// The same where that is not set, but only under pressure on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dedup_under_pressure: Option<String>,
    /// Whether VLAN tags make no difference.
    pub(crate) dedup_ignore_vlan: bool,
    /// Classes of flows that are stored whole while not everything can be: `udp port 53`.
    pub(crate) critical: Vec<String>,
}

/// A setting that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("capture.{setting}: {what}")]
pub(crate) struct CaptureSettingsError {
    setting: &'static str,
    what: String,
}

impl CaptureSettings {
    /// What they mean. Whether a class is a filter shows when an interface is opened.
    ///
    /// # Errors
    ///
    /// The first setting that makes no sense.
    pub(crate) fn thinning(&self) -> Result<Thinning, CaptureSettingsError> {
        let wrong = |setting| move |what| CaptureSettingsError { setting, what };
        let cut_off = self.cutoff.iter().map(|text| cut_off(text));
        let duplicates = self.dedup.as_deref().map(window);
        let under_pressure = self.dedup_under_pressure.as_deref().map(window);
        Ok(Thinning {
            cut_off: cut_off.collect::<Result<_, _>>().map_err(wrong("cutoff"))?,
            duplicates: duplicates.transpose().map_err(wrong("dedup"))?,
            duplicates_under_pressure: under_pressure
                .transpose()
                .map_err(wrong("dedup_under_pressure"))?,
            ignore_vlans: self.dedup_ignore_vlan,
            critical: self.critical.clone(),
        })
    }
}

/// A class and its budget: what is behind the last `=` is a size.
fn cut_off(text: &str) -> Result<CutOff, String> {
    let Some((class, bytes)) = text.rsplit_once('=').filter(|(class, _)| !class.trim().is_empty())
    else {
        return Err(format!("'{text}' is no class and size; write such as 'tcp port 443=64KiB'"));
    };
    Ok(CutOff { class: class.trim().to_owned(), bytes: quantity::size(bytes.trim())? })
}

fn window(text: &str) -> Result<Duration, String> {
    let length: Option<SignedDuration> = text.parse().ok();
    let window = length.and_then(|length| Duration::try_from(length).ok());
    let window = window.filter(|it| !it.is_zero() && *it <= WINDOW_MAX);
    window.ok_or_else(|| {
        format!("'{text}' is no window; write such as 50ms, at most {} s", WINDOW_MAX.as_secs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(cutoff: &[&str], dedup: Option<&str>) -> CaptureSettings {
        let cutoff = cutoff.iter().map(|it| (*it).to_owned()).collect();
        let dedup = dedup.map(str::to_owned);
        CaptureSettings { cutoff, dedup, dedup_ignore_vlan: true, ..CaptureSettings::default() }
    }

    #[test]
    fn classes_and_windows_are_understood() {
        let thinning = settings(&["tcp port 443=64KiB", "tcp[13] = 2=0"], Some("50ms")).thinning();
        let cut_off = |class: &str, bytes| CutOff { class: class.to_owned(), bytes };
        let expected = Thinning {
            cut_off: vec![cut_off("tcp port 443", 64 << 10), cut_off("tcp[13] = 2", 0)],
            duplicates: Some(Duration::from_millis(50)),
            ignore_vlans: true,
            ..Thinning::default()
        };
        assert_eq!(thinning.unwrap(), expected);
    }

    #[test]
    fn what_holds_only_under_pressure_is_understood() {
        let settings = |dedup: &str| CaptureSettings {
            dedup_under_pressure: Some(dedup.to_owned()),
            critical: vec!["udp port 53".to_owned()],
            ..CaptureSettings::default()
        };
        let expected = Thinning {
            duplicates_under_pressure: Some(Duration::from_millis(50)),
            critical: vec!["udp port 53".to_owned()],
            ..Thinning::default()
        };
        assert_eq!(settings("50ms").thinning().unwrap(), expected);
        let error = settings("50").thinning().unwrap_err().to_string();
        assert!(error.starts_with("capture.dedup_under_pressure: '50' is no window"), "{error}");
    }

    #[test]
    fn what_is_none_is_refused_in_words() {
        let error =
            |cutoff: &[&str], dedup| settings(cutoff, dedup).thinning().unwrap_err().to_string();
        assert!(error(&["tcp"], None).contains("no class and size"));
        assert!(error(&["=64KiB"], None).contains("no class and size"));
        assert!(error(&["tcp=much"], None).contains("is no size"));
        for window in ["", "0s", "50", "11s", "-1ms"] {
            assert!(error(&[], Some(window)).contains("no window"), "{window}");
        }
    }
}
