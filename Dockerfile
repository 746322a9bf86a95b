# The plugin as an image of one layer with one file, as Istio, Envoy Gateway and Higress expect it.
# `deploy/push.sh IMAGE` needs no docker and does not use this file. To build by hand, in the folder of
# plugin.wasm (without --provenance=false, buildx makes an index for one platform, in which gateways on
# other platforms find no image):
#
#   docker buildx build --provenance=false --build-arg VERSION=VERSION --tag IMAGE --push .
FROM scratch
COPY plugin.wasm /plugin.wasm
ARG VERSION
LABEL org.opencontainers.image.title="header-gate" \
      org.opencontainers.image.description="A Proxy-Wasm plugin of a few hundred bytes: a request passes only when a header carries an agreed value" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
