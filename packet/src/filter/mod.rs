//! pcap filters: compiled by libpcap, run by our own interpreter, read for what an index can use.
