//! What a packet is: instants, link types, interfaces, capture files in and out, decoding,
//! flows, names and filters.
//!
//! Everything here is a pure function of its input: bytes and values in, values out, no files,
//! no clock, no threads. That is what lets every part be tested by the million and fuzzed. (The
//! one exception is [`filter::Program::compile`], which calls libpcap's compiler.)
//!
//! | module | question it answers |
//! |---|---|
//! | [`time`] | when was that, exactly? |
//! | [`interface`] | where did a packet come from, and how is it framed? |
//! | [`capture_file`] | what packets are in this pcap or pcapng, and how is one written? |
//! | [`decode`] | what does a packet say, from the link layer to the innermost transport? |
//! | [`flow`] | which conversation is it part of? |
//! | [`names`] | which host names does a conversation carry? |
//! | [`filter`] | does tcpdump's filter match, and what must a flow have to contain a match? |
//! | [`summary`] | what does a packet say, in a line? |
//! | [`predicate`] | which flows can hold what is asked for? |

#![forbid(unsafe_code)]

pub mod capture_file;
pub mod decode;
pub mod filter;
pub mod flow;
pub mod interface;
pub mod names;
pub mod predicate;
pub mod summary;
pub mod time;
