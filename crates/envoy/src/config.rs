//! Static configurations for Envoy, as JSON, which is YAML too.

use std::path::Path;

use serde_json::{Value, json};

use crate::client::Response;

/// What the plugin is called in Envoy's log.
const PLUGIN: &str = "header-authorization";
/// The limit of a request's header fields, with room for long values.
pub const MAX_REQUEST_HEADERS_KB: usize = 96;
/// What a listener without an upstream answers to a request that comes through, with status 200.
pub const UPSTREAM: &str = "upstream\n";
/// The type of a filter, a router or a log in Envoy's API.
macro_rules! api {
    ($name:literal) => {
        concat!("type.googleapis.com/envoy.extensions.", $name)
    };
}

/// Whether `response` is what a listener without an upstream answers.
pub fn is_upstream(response: &Response) -> bool {
    response.status == 200 && response.body == UPSTREAM.as_bytes()
}

/// A listener on 127.0.0.1, on any free port, that speaks HTTP/1.1 and HTTP/2.
#[derive(Clone, Debug)]
pub struct Listener {
    name: String,
    filters: Vec<Value>,
    upstream: Option<u16>,
    access_log: Option<String>,
}

impl Listener {
    /// A listener that answers every request itself, with [`UPSTREAM`].
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), filters: Vec::new(), upstream: None, access_log: None }
    }

    /// Adds the plugin in `file`, in a VM that no other listener shares, failing closed.
    pub fn wasm(self, file: &Path) -> Self {
        let vm = json!({
            "vm_id": self.name,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": file } },
        });
        self.filter(json!({
            "name": PLUGIN,
            "typed_config": {
                "@type": api!("filters.http.wasm.v3.Wasm"),
                "config": {
                    "name": PLUGIN,
                    "failure_policy": "FAIL_CLOSED",
                    "vm_config": vm,
                },
            },
        }))
    }

    /// Adds the native gate `lib<name>.so`, which Envoy looks for in [`crate::DYNAMIC_MODULES`].
    pub fn native(self, name: &str) -> Self {
        self.filter(json!({
            "name": name,
            "typed_config": {
                "@type": api!("filters.http.dynamic_modules.v3.DynamicModuleFilter"),
                "dynamic_module_config": { "name": name },
                "filter_name": name,
            },
        }))
    }

    /// Adds an HTTP filter.
    pub fn filter(mut self, filter: Value) -> Self {
        self.filters.push(filter);
        self
    }

    /// Sends requests to `port` of 127.0.0.1.
    pub fn upstream(mut self, port: u16) -> Self {
        self.upstream = Some(port);
        self
    }

    /// Logs a line per request, in Envoy's format; it shows in [`crate::Envoy::log`].
    pub fn access_log(mut self, format: &str) -> Self {
        self.access_log = Some(format!("{format}\n"));
        self
    }

    fn json(&self) -> Value {
        let mut route = json!({ "match": { "prefix": "/" } });
        if self.upstream.is_some() {
            route["route"] = json!({ "cluster": self.name });
        } else {
            let body = json!({ "inline_string": UPSTREAM });
            route["direct_response"] = json!({ "status": 200, "body": body });
        }
        let router = json!({
            "name": "router",
            "typed_config": { "@type": api!("filters.http.router.v3.Router") },
        });
        let access_log = self.access_log.iter().map(|format| {
            json!({
                "name": "stdout",
                "typed_config": {
                    "@type": api!("access_loggers.stream.v3.StdoutAccessLog"),
                    "log_format": { "text_format_source": { "inline_string": format } },
                },
            })
        });
        let manager = json!({
            "@type": api!("filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": self.name,
            "codec_type": "AUTO",
            "max_request_headers_kb": MAX_REQUEST_HEADERS_KB,
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [route] }] },
            "http_filters": self.filters.iter().chain([&router]).collect::<Vec<_>>(),
            "access_log": access_log.collect::<Vec<_>>(),
        });
        json!({
            "name": self.name,
            "address": address(0),
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": manager }] }],
        })
    }

    fn cluster(&self) -> Option<Value> {
        let endpoint = json!({ "endpoint": { "address": address(self.upstream?) } });
        Some(json!({
            "name": self.name,
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{ "lb_endpoints": [endpoint] }],
            },
        }))
    }
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
