# The commands of the README. Each is a script or a few words, so that they can be read at a glance.

.PHONY: demo test lint bench bench-load bench-live prove sim powercut mutants fuzz-smoke setup

# Installs the system packages that are missing (libpcap's headers, a C compiler).
setup:
	scripts/setup

# Builds, makes a sample capture, imports it, and asks four questions.
demo: setup
	scripts/demo

# Everything that must hold: formatting, lints, every test, the examples in the documentation.
test: setup lint
	cargo test --workspace --quiet
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

lint:
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings
	scripts/mutants --check

# Measures every promise against a peer or the disk, in about five minutes; needs 25 GB of disk.
bench: setup
	scripts/bench

# Puts a server under 64 clients for a minute while an import runs through it, and then under attack;
# needs 30 GB of disk.
bench-load: setup
	scripts/bench-load

# Records live packets beside tcpdump, dumpcap, netsniff-ng and stenotype, then for ten minutes alone; in
# about forty minutes; needs root.
bench-live: setup
	scripts/bench-live

# Tries every promise of docs/reliability.md and prints one table, in about twelve minutes (four with
# SHORT=1); needs root and 40 GB of disk.
prove: setup
	scripts/prove

# Tries many lives of a store in a simulated world: SEEDS=1000 of them, SEED=17 that one.
sim: setup
	scripts/sim

# Cuts the power at every write of a workload on real ext4 and XFS, in about four minutes; needs root.
powercut: setup
	scripts/powercut

# Plants faults, each of which the simulation or the power cuts must show, in about four minutes; needs root.
mutants: setup
	scripts/mutants

# Runs every fuzz target for some seconds, a minute in all (building them takes three more).
fuzz-smoke: setup
	scripts/fuzz-smoke
