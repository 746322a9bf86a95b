//! The other front: the same decision behind the `proxy-wasm` SDK.
//!
//! It is the portable reference for the ABI front, and the starting point for a gate that needs other
//! callbacks. The SDK needs an allocator, an object per request and a vector of headers per denial;
//! this code allocates nothing else. It knows none of the policy's options (`gate build` refuses them), and it
//! panics on a status that no host returns for these calls.

use std::boxed::Box;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

use crate::RULE;
use crate::decision::Value;
use crate::policy::{BODY, HEADER, HEADERS, STATUS};

proxy_wasm::main! {{
    proxy_wasm::set_http_context(|context, _root| Box::new(Gate { context }));
}}

#[cfg_attr(not(feature = "log"), expect(dead_code))]
struct Gate {
    context: u32,
}

impl Context for Gate {}

impl HttpContext for Gate {
    fn on_http_request_headers(&mut self, _headers: usize, _end_of_stream: bool) -> Action {
        #[cfg(feature = "log")]
        self.write(crate::log::REQUEST);
        // As bytes: the SDK's String form panics on a value that is not UTF-8, which kills the VM.
        if let Ok(Some(value)) = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, HEADER)
            && RULE.accepts(&Value::of(&value))
        {
            return Action::Continue;
        }
        #[cfg(feature = "log")]
        self.write(crate::log::DENIED);
        // The request stays stopped even if the host fails to send the denial.
        let _ = hostcalls::send_http_response(STATUS, HEADERS.to_vec(), Some(BODY.as_bytes()));
        Action::Pause
    }
}

#[cfg(feature = "log")]
impl Gate {
    /// Writes `line` to the host's log.
    fn write<const N: usize>(&self, mut line: crate::log::Line<N>) {
        if let Ok(message) = str::from_utf8(line.of(self.context)) {
            // If the host refuses the line, the line is lost and the decision unchanged.
            let _ = hostcalls::log(proxy_wasm::types::LogLevel::Info, message);
        }
    }
}
