# The command `gate`, static, without a shell or anything else: for `gate probe` on a schedule
# (probe-cronjob.yaml). The folder has gate-amd64, gate-arm64 and the certificates to trust; the workflow `release`
# builds and signs it.
FROM scratch
ARG TARGETARCH
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY gate-${TARGETARCH} /gate
LABEL org.opencontainers.image.title="gate" \
      org.opencontainers.image.description="Builds, verifies, probes and pushes header-gate plugins" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 65534:65534
ENTRYPOINT ["/gate"]
