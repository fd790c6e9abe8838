//! What tcpdump and tshark say of the captures: the tables in `truth/`, read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What tcpdump answers to one filter over one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// So many packets, with this hash over their numbers ([`hash_of_numbers`]).
    Packets(u64, String),
    /// It refuses the filter for the link type.
    Refused,
    /// It refuses the filter since nothing could match.
    RejectsAll,
}

/// A file and a filter: its number in [`Oracle::filters`], from 0.
pub type Question = (String, usize);

/// A name that tshark shows in some packets of a file.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The capture.
    pub file: String,
    /// tshark's field: `dns.qry.name`, `tls.handshake.extensions_server_name`, `http.host`.
    pub kind: String,
    /// The name as tshark prints it.
    pub value: String,
    /// In how many packets.
    pub packets: u64,
    /// Hash over their numbers.
    pub hash: String,
}

/// The oracle's tables.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// The filter expressions.
    pub filters: Vec<String>,
    /// tcpdump's answers over whole files.
    pub results: BTreeMap<Question, Answer>,
    /// Answers for files that tcpdump gives up on, a link type at a time.
    pub split: BTreeMap<(Question, u16), Answer>,
    /// Names in packets.
    pub shown: Vec<Shown>,
    /// tcpdump's exit status and packets by file, and what it says.
    pub files: BTreeMap<String, (i32, u64, String)>,
    /// The same for the damaged files.
    pub broken: BTreeMap<String, (i32, u64, String)>,
}

impl Oracle {
    /// Reads the tables beside the captures.
    ///
    /// # Panics
    ///
    /// When one is missing or malformed: tests cannot go on then.
    #[must_use]
    pub fn load(captures: &Path) -> Oracle {
        let truth = captures.join("truth");
        let read = |name: &str| {
            fs::read_to_string(truth.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        let rows = |name: &str| -> Vec<Vec<String>> {
            let text = read(name);
            let rows = text.lines().skip(1);
            rows.map(|row| row.split('\t').map(str::to_owned).collect()).collect()
        };
        let files = |name: &str| {
            let row = |row: Vec<String>| {
                (row[0].clone(), (number(&row[1]) as i32, number(&row[2]), row[3].clone()))
            };
            rows(name).into_iter().map(row).collect()
        };
        Oracle {
            filters: read("filters.txt").lines().map(str::to_owned).collect(),
            results: rows("results.tsv")
                .into_iter()
                .map(|row| ((row[0].clone(), number(&row[1]) as usize - 1), answer(&row[2..])))
                .collect(),
            split: rows("results-split.tsv")
                .into_iter()
                .map(|row| {
                    let question = (row[0].clone(), number(&row[2]) as usize - 1);
                    ((question, number(&row[1]) as u16), answer(&row[3..]))
                })
                .collect(),
            shown: rows("l7.tsv")
                .into_iter()
                .map(|row| Shown {
                    file: row[0].clone(),
                    kind: row[1].clone(),
                    value: row[2].clone(),
                    packets: number(&row[3]),
                    hash: row[4].clone(),
                })
                .collect(),
            files: files("files.tsv"),
            broken: files("broken.tsv"),
        }
    }

    /// Whether tcpdump gives up on a file, so that only [`Oracle::split`] speaks of all of it.
    #[must_use]
    pub fn gives_up_on(&self, file: &str) -> bool {
        self.split.range(((file.to_owned(), 0), 0)..).next().is_some_and(|(key, _)| key.0.0 == file)
    }
}

/// SHA-256 over packet numbers, each in decimal and followed by a line feed, in hexadecimal.
#[must_use]
pub fn hash_of_numbers(numbers: impl IntoIterator<Item = u64>) -> String {
    let text: String = numbers.into_iter().map(|number| format!("{number}\n")).collect();
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn answer(columns: &[String]) -> Answer {
    match columns[0].as_str() {
        "ERR" => Answer::Refused,
        "ERR-EMPTY" => Answer::RejectsAll,
        count => Answer::Packets(number(count), columns[1].clone()),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("'{text}' is not a number"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn no_numbers_have_the_hash_of_nothing() {
        assert!(super::hash_of_numbers([]).starts_with("e3b0c442"));
    }
}
