# Recipes for daily work. CI runs the same steps: .ci/run

# List the recipes.
default:
    @just --list

# Gateway, sandbox, demo account and key, all in one process.
dev:
    cargo run --release -- dev

# Serve with a configuration file.
run config="config/example.toml":
    cargo run --release -- serve --config {{config}}

# Format, lints, documentation: whatever is wrong fails.
check:
    cargo fmt --check
    cargo clippy --all-targets --all-features --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --locked

# All tests.
test *args:
    scripts/test {{args}}

# Kills the program at every point, so many times, and counts (docs/reliability.md).
crash iterations="100":
    scripts/crash --iterations {{iterations}}

# Every command in README and docs, against a gateway in dev mode.
docs:
    cargo build --locked
    WXGATE_BIN=target/debug/wxgate scripts/check-docs

# Everything that CI does.
ci:
    .ci/run

# The OpenAPI document.
openapi:
    cargo run --release -- openapi

# Licences, bans, sources and advisories of the dependencies (cargo install cargo-deny).
deny:
    cargo deny check

# The container image.
image tag="wxgate:latest":
    docker build -t {{tag}} .
