//! The other front: the same decision behind the `proxy-wasm` SDK.
//!
//! It is the portable reference for the ABI front, and the place to start from when a gate must grow
//! other callbacks. The SDK asks for an allocator, an object for each request and a vector of header
//! pairs for each denial; what is added here allocates nothing. It has no way to pass `details`, and
//! it panics on a status that no host gives for these calls.

use std::boxed::Box;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, MapType};

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
        // As bytes: the SDK's String panics on a value that is not UTF-8, and the worker is lost.
        if let Ok(Some(value)) = hostcalls::get_map_value_bytes(MapType::HttpRequestHeaders, HEADER)
            && Value::of(&value).is_accepted()
        {
            return Action::Continue;
        }
        #[cfg(feature = "log")]
        self.write(crate::log::DENIED);
        // Whether the host could send the answer changes nothing: the request stays stopped.
        let _ = hostcalls::send_http_response(STATUS, HEADERS.to_vec(), Some(BODY.as_bytes()));
        Action::Pause
    }
}

#[cfg(feature = "log")]
impl Gate {
    /// Writes `line` to the host's log.
    fn write<const N: usize>(&self, mut line: crate::log::Line<N>) {
        if let Ok(message) = str::from_utf8(line.of(self.context)) {
            // A line that the host refuses is lost; the decision does not wait for it.
            let _ = hostcalls::log(proxy_wasm::types::LogLevel::Info, message);
        }
    }
}
