# check: the fast part. test: everything, on real servers that it starts itself. month: a month of life, recounted.
.PHONY: check test month servers

TRACES ?= data/azure-llm-2023-conv-3000.csv

check:
	scripts/timed "formatting" cargo fmt --check
	scripts/timed "lints" cargo clippy --locked --all-targets -- -D warnings
	scripts/timed "unit and scenario tests" cargo test --locked --lib --test scenarios -- --skip n1_through

test: servers check
	scripts/timed "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	scripts/timed "contract tests (ledger on memory and Redis)" cargo test --locked --test ledger
	scripts/timed "scenarios through the service (real Kafka and Redis)" cargo test --locked --test scenarios -- n1_through
	scripts/timed "process tests (real Kafka and Redis)" cargo test --locked --test process
	$(MAKE) --no-print-directory month
	@cat target/timed.txt

month:
	cargo build --locked
	scripts/timed "a month of life, recounted" tests/month/run.py --speed 60000 $(TRACES)

servers:
	@rm -f target/timed.txt
	scripts/timed "installing servers" scripts/servers install
