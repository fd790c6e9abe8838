//! Capture files, in and out: pcap and pcapng as a stream of steps over bytes somebody else reads.
