FROM rust:1.95-bookworm AS build
WORKDIR /bursar
COPY . .
RUN cargo build --release --locked

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends libssl3 ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system bursar
COPY --from=build /bursar/target/release/bursar /usr/local/bin/bursar
COPY --from=build /bursar/data /data
USER bursar
EXPOSE 9464
ENTRYPOINT ["bursar"]
CMD ["run"]
