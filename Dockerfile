# The plugin as an image of one layer with one file, as Istio, Envoy Gateway and Higress expect it.
# `deploy/push.sh IMAGE` needs no docker and does not use this file. To build by hand, in the folder of
# plugin.wasm:
#
#   docker buildx build --platform linux/amd64 --provenance=false --sbom=false --build-arg VERSION=VERSION \
#     --output type=image,name=IMAGE,push=true,compression=gzip,force-compression=true .
#
# Gateways read gzip layers only. An attestation would make an index of the image; in an index, Istio and
# Envoy Gateway look for linux/amd64 on every machine, although the plugin runs on any.
FROM scratch
COPY plugin.wasm /plugin.wasm
ARG VERSION
LABEL org.opencontainers.image.title="header-gate" \
      org.opencontainers.image.description="A Proxy-Wasm plugin of a few hundred bytes: a request passes only when a header carries an agreed value" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
