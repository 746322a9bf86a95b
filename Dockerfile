# The plugin as an image of one layer with one file, which is what Istio, Envoy Gateway and Higress
# look for. `deploy/push.sh IMAGE` builds and pushes it; by hand, from the folder of plugin.wasm:
#
#   docker build --build-arg VERSION=VERSION --tag IMAGE .
FROM scratch
COPY plugin.wasm /plugin.wasm
ARG VERSION
LABEL org.opencontainers.image.title="header-gate" \
      org.opencontainers.image.description="A Proxy-Wasm plugin of a few hundred bytes: a request passes only when a header carries an agreed value" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
