//! Static configurations for Envoy, as JSON, which is YAML too.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::client::Response;

/// What the plugin is called in Envoy's log.
const PLUGIN: &str = "header-authorization";
/// The limit of a request's header fields, with room for long values.
pub const MAX_REQUEST_HEADERS_KB: usize = 96;
/// What a listener without an upstream answers to a request that comes through, with status 200.
pub const UPSTREAM: &str = "upstream\n";

/// Whether `response` is what a listener without an upstream answers.
pub fn is_upstream(response: &Response) -> bool {
    response.status == 200 && response.body == UPSTREAM.as_bytes()
}

/// A listener on 127.0.0.1, on any free port, that speaks HTTP/1.1 and HTTP/2.
#[derive(Clone, Debug)]
pub struct Listener {
    name: String,
    filters: Vec<Value>,
    /// In front of the one for all requests.
    routes: Vec<Value>,
    upstream: Option<u16>,
    manager: Map<String, Value>,
    socket: Option<Value>,
}

impl Listener {
    /// A listener that answers every request itself, with [`UPSTREAM`].
    pub fn new(name: &str) -> Self {
        let (filters, routes, manager) = (Vec::new(), Vec::new(), Map::new());
        Self { name: name.to_owned(), filters, routes, upstream: None, manager, socket: None }
    }

    /// Adds the plugin in `file`, in a VM that no other listener shares, failing closed.
    pub fn wasm(self, file: &Path) -> Self {
        self.wasm_with(file, Map::new())
    }

    /// As [`Listener::wasm`], with these fields of the plugin's configuration, which replace those of the same name.
    pub fn wasm_with(self, file: &Path, plugin: Map<String, Value>) -> Self {
        let code = json!({ "local": { "filename": file } });
        let vm = json!({ "vm_id": self.name, "runtime": "envoy.wasm.runtime.v8", "code": code });
        let own = json!({ "name": PLUGIN, "failure_policy": "FAIL_CLOSED", "vm_config": vm });
        let config: Value = own.as_object().cloned().into_iter().flatten().chain(plugin).collect();
        self.filter(extension(PLUGIN, "filters.http.wasm.v3.Wasm", json!({ "config": config })))
    }

    /// Adds the native gate `lib<name>.so`, which Envoy looks for in [`crate::DYNAMIC_MODULES`].
    pub fn native(self, name: &str) -> Self {
        let module = json!({ "dynamic_module_config": { "name": name }, "filter_name": name });
        let kind = "filters.http.dynamic_modules.v3.DynamicModuleFilter";
        self.filter(extension(name, kind, module))
    }

    /// Adds an HTTP filter.
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// Replaces the filter that was added last.
    pub fn wrap<E>(mut self, change: impl FnOnce(Value) -> Result<Value, E>) -> Result<Self, E> {
        if let Some(filter) = self.filters.pop() {
            self.filters.push(change(filter)?);
        }
        Ok(self)
    }

    /// Adds a route, which lacks what to do: that is the same as for all other requests. Settings for the filter
    /// `placeholder` are for the filter that was added last.
    pub fn route(mut self, mut route: Value, placeholder: &str) -> Self {
        let last = self.filters.last().and_then(|filter| filter["name"].as_str());
        let settings = route["typed_per_filter_config"].as_object_mut();
        if let (Some(name), Some(settings)) = (last, settings) {
            let own = settings.remove(placeholder);
            settings.extend(own.map(|own| (name.to_owned(), own)));
        }
        self.routes.push(route);
        self
    }

    /// Sends requests to `port` of 127.0.0.1.
    pub fn upstream(self, port: u16) -> Self {
        Self { upstream: Some(port), ..self }
    }

    /// Logs a line per request, in Envoy's format; it shows in [`crate::Envoy::log`].
    pub fn access_log(self, format: &str) -> Self {
        let format = json!({ "text_format_source": { "inline_string": format!("{format}\n") } });
        let config = json!({ "log_format": format });
        let log = extension("stdout", "access_loggers.stream.v3.StdoutAccessLog", config);
        self.manager("access_log", json!([log]))
    }

    /// Sets a field of the HTTP connection manager.
    pub fn manager(mut self, field: &str, value: Value) -> Self {
        self.manager.insert(field.to_owned(), value);
        self
    }

    /// Requires TLS: a certificate and its key in PEM form, and the protocols that ALPN offers.
    pub fn tls(self, certificate: &str, key: &str, protocols: &[&str]) -> Self {
        let [chain, key] = [certificate, key].map(|pem| json!({ "inline_string": pem }));
        let certificates = json!([{ "certificate_chain": chain, "private_key": key }]);
        let context = json!({ "alpn_protocols": protocols, "tls_certificates": certificates });
        let config = json!({ "common_tls_context": context });
        let api = "transport_sockets.tls.v3.DownstreamTlsContext";
        Self { socket: Some(extension("tls", api, config)), ..self }
    }

    fn json(&self) -> Value {
        let mut routes = self.routes.clone();
        routes.push(json!({ "match": { "prefix": "/" } }));
        for route in &mut routes {
            if self.upstream.is_some() {
                route["route"] = json!({ "cluster": self.name });
            } else {
                let body = json!({ "inline_string": UPSTREAM });
                route["direct_response"] = json!({ "status": 200, "body": body });
            }
        }
        let router = extension("router", "filters.http.router.v3.Router", json!({}));
        let mut manager = json!({
            "stat_prefix": self.name,
            "codec_type": "AUTO",
            "max_request_headers_kb": MAX_REQUEST_HEADERS_KB,
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }] },
            "http_filters": self.filters.iter().chain([&router]).collect::<Vec<_>>(),
        });
        manager.as_object_mut().expect("it is one").extend(self.manager.clone());
        let api = "filters.network.http_connection_manager.v3.HttpConnectionManager";
        let mut chain = json!({ "filters": [extension("http", api, manager)] });
        if let Some(socket) = &self.socket {
            chain["transport_socket"] = socket.clone();
        }
        json!({
            "name": self.name,
            "stat_prefix": self.name,
            "address": address(0),
            "filter_chains": [chain],
        })
    }

    fn cluster(&self) -> Option<Value> {
        let endpoint = json!({ "endpoint": { "address": address(self.upstream?) } });
        let endpoints = json!([{ "lb_endpoints": [endpoint] }]);
        let load_assignment = json!({ "cluster_name": self.name, "endpoints": endpoints });
        Some(json!({ "name": self.name, "load_assignment": load_assignment }))
    }
}

/// A filter, a log or a transport socket, of the type `api` in Envoy's API.
pub fn extension(name: &str, api: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/envoy.extensions.{api}").into();
    json!({ "name": name, "typed_config": config })
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

/// The configuration of an Envoy with these listeners, and its admin API on any free port.
pub fn config(listeners: &[Listener]) -> Value {
    json!({
        "admin": { "address": address(0) },
        "static_resources": {
            "listeners": listeners.iter().map(Listener::json).collect::<Vec<_>>(),
            "clusters": listeners.iter().filter_map(Listener::cluster).collect::<Vec<_>>(),
        },
    })
}
