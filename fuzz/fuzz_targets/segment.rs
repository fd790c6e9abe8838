//! What stands in a segment file and in a log record.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tapstone::parse_for_fuzzing(bytes));
