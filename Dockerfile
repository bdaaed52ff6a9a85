# kpid alone: one program, what it links to, time zones and CA certificates. No shell and no package manager: health checks
# are the program itself. `scripts/image` builds it with whichever of docker, podman and buildah is there.
ARG BASE=docker.io/library/debian:bookworm-slim
# A release passes BASE by digest; what it is called is kept as a label.
FROM ${BASE} AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates cmake gcc jq libc6-dev libcurl4-openssl-dev libexpat1-dev \
      libisal-dev libjansson-dev libmicrohttpd-dev libsqlite3-dev libssl-dev libyaml-dev ninja-build pkg-config tzdata zlib1g-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Seconds since 1970 that every file of the image is dated with: the same sources and packages give the same bytes.
ARG SOURCE_DATE_EPOCH=0
ARG COMMIT=unknown
RUN cmake --preset release -DKPID_COMMIT="${COMMIT}" \
 && cmake --build --preset release --target kpid \
 && cmake --install build/release --strip --component service --prefix /image/usr/local \
 && deploy/image-root /image

FROM scratch
COPY --from=build /image/ /
ARG BASE
ARG COMMIT=unknown
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="kpid" \
      org.opencontainers.image.description="E-commerce KPIs for a date, from CSV, over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.base.name="${BASE}"
# All that is written is below the volume; the rest may be read-only. Where no API keys are set, kpid answers only its own
# machine: give it KPI_API_KEYS.
ENV KPI_LISTEN=:8080 KPI_HEALTH_LISTEN=:8081 KPI_DB=/var/lib/kpid/kpid.db TMPDIR=/var/lib/kpid SQLITE_TMPDIR=/var/lib/kpid
USER 10001:10001
VOLUME /var/lib/kpid
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["/usr/local/bin/kpid", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/kpid"]
CMD ["serve"]
