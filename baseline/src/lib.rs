//! The SDK baseline: header-gate's committed rule, written as the SDK's documentation shows.
//!
//! header-gate is measured against it, so it keeps what such plugins have: the value as a `String`, a
//! `vec!` of headers for each denial, `info!` on every request. The rule is written out here and does
//! not follow `policy.toml`; the conformance tests check that the two agree.

#![cfg(target_family = "wasm")]

use log::info;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Gate { id }))
    }
}

struct Gate {
    id: u32,
}

impl Context for Gate {}

impl HttpContext for Gate {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        info!("#{} plain: on_http_request_headers", self.id);
        if self.get_http_request_header("allow").is_some_and(|value| value == "true") {
            return Action::Continue;
        }
        info!("#{} plain: denied", self.id);
        let headers = vec![("Content-Type", "text/plain")];
        let body = b"Forbidden by ASM Wasm Plugin, rust version\n";
        self.send_http_response(403, headers, Some(body));
        Action::Pause
    }
}
