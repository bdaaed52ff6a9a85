# kpid as a small image: built on Debian 12, run without root, shell-free entry point.
FROM debian:12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev cmake ninja-build pkg-config \
    libmicrohttpd-dev libcurl4-openssl-dev libssl-dev libjansson-dev libsqlite3-dev libexpat1-dev zlib1g-dev libisal-dev \
    libyaml-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cmake --preset release && cmake --build --preset release && strip build/release/kpid

FROM debian:12-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates tzdata libmicrohttpd12 libssl3 \
    libjansson4 libsqlite3-0 zlib1g libisal2 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 kpid && install -d -o kpid /var/lib/kpid
COPY --from=build /src/build/release/kpid /usr/local/bin/kpid
USER kpid
ENV KPI_LISTEN=:8080 KPI_DB=/var/lib/kpid/kpid.db
VOLUME /var/lib/kpid
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=6s CMD ["kpid", "healthcheck"]
ENTRYPOINT ["kpid"]
CMD ["serve"]
