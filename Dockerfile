# syntax=docker/dockerfile:1
# wxgate in a container: built with the pinned toolchain, run on a base without a shell, as a plain user.

FROM rust:1.95.0-bookworm AS build
# The toolchain of the image, as it is: no components for development are fetched.
ENV RUSTUP_TOOLCHAIN=1.95.0
WORKDIR /src
COPY . .
# The caches outlive the build; the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin wxgate && cp target/release/wxgate /wxgate && mkdir /data

# Has glibc, CA certificates and a user 65532. SQLite is inside the binary, TLS is rustls.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="wxgate" \
      org.opencontainers.image.description="A standalone WeChat push gateway" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=build /wxgate /wxgate
# Owned by the plain user, so that a fresh volume is too.
COPY --from=build --chown=65532:65532 /data /data
# Listening beyond loopback needs a key: see docs/operations.md. (The environment beats a configuration file.)
ENV WXGATE__SERVER__LISTEN=0.0.0.0:8080
# The default store, data/wxgate.db, is then on the volume.
WORKDIR /
VOLUME /data
EXPOSE 8080
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["/wxgate", "healthcheck"]
ENTRYPOINT ["/wxgate"]
CMD ["serve"]
