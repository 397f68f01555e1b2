# The image that a cluster runs: one static binary on an empty base.
FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src

# Dependencies first, in a layer of their own: they change less often than the sources. Empty sources stand in until
# the real ones come, so the targets that manifests declare beside them ([[test]], [[example]], ...) are left out.
COPY Cargo.toml Cargo.lock build.rs ./
COPY core/Cargo.toml core/
COPY transport/Cargo.toml transport/
COPY sim/Cargo.toml sim/
COPY sim/checker/Cargo.toml sim/checker/
COPY sim/blackbox/Cargo.toml sim/blackbox/
COPY sim/loopback/Cargo.toml sim/loopback/
COPY server/Cargo.toml server/
COPY server/client/Cargo.toml server/client/
COPY tests/Cargo.toml tests/
COPY bench/Cargo.toml bench/
COPY examples/naive-store/Cargo.toml examples/naive-store/
RUN sed -i '/^\[\[/,/^$/d' */Cargo.toml */*/Cargo.toml \
    && for manifest in */Cargo.toml */*/Cargo.toml; do \
           mkdir -p "${manifest%/*}/src" \
           && touch "${manifest%/*}/src/lib.rs" \
           && echo 'fn main() {}' > "${manifest%/*}/src/main.rs" || exit 1; \
       done

# As in Cargo.toml. An image that is only tested may be built sooner, with other values.
ARG CARGO_PROFILE_RELEASE_LTO=fat
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
# A static binary needs its target named: without it, the flag would also reach procedural macros.
ENV RUSTFLAGS="-C target-feature=+crt-static"
RUN cargo build --release --locked -p hence-server --target "$(uname -m)-unknown-linux-gnu"

COPY core core
COPY transport transport
COPY sim sim
COPY server server
# `hence --version` says it: docker build --build-arg HENCE_COMMIT="$(git rev-parse --short=12 HEAD)" .
ARG HENCE_COMMIT=
RUN find core transport sim server -name '*.rs' -exec touch {} + \
    && cargo build --release --locked -p hence-server --bin hence --target "$(uname -m)-unknown-linux-gnu" \
    && cp "target/$(uname -m)-unknown-linux-gnu/release/hence" /hence \
    && strip /hence

FROM scratch
COPY --from=build /hence /hence
USER 65532:65532
EXPOSE 8090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=2s --start-period=5s --retries=3 CMD ["/hence", "health"]
ENTRYPOINT ["/hence"]
CMD ["serve"]
