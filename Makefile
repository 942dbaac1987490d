# check: the fast part. test: everything, on real servers that it starts itself.
.PHONY: check test servers

check:
	scripts/timed "formatting" cargo fmt --check
	scripts/timed "lints" cargo clippy --locked --all-targets -- -D warnings
	scripts/timed "unit and scenario tests" cargo test --locked --lib --test scenarios -- --skip n1_through

test: servers check
	scripts/timed "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	scripts/timed "contract tests (ledger on memory and Redis)" cargo test --locked --test ledger
	scripts/timed "scenarios through the service (real Kafka and Redis)" cargo test --locked --test scenarios -- n1_through
	scripts/timed "process tests (real Kafka and Redis)" cargo test --locked --test process
	@cat target/timed.txt

servers:
	@rm -f target/timed.txt
	scripts/timed "installing servers" scripts/servers install
