//! Feature `nginx`: callbacks that `ngx_wasm_module` and APISIX call whether a module has them or not.
//!
//! Each returns a constant. Envoy would call them too, for nothing: the default build leaves them out.

#![allow(unsafe_code, reason = "names for the host")]

/// What lets the host go on when the plugin starts, and when a request is done.
const YES: u32 = 1;
/// `Action::Continue` of the specification.
const CONTINUE: u32 = 0;

macro_rules! callbacks {
    ($($name:ident($($argument:ident),*) $(-> $constant:ident)?)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: u32),*) $(-> callbacks!(@ $constant))? {
                $($constant)?
            }
        )+
    };
    (@ $constant:ident) => { u32 };
}

callbacks! {
    proxy_on_context_create(_context, _parent)
    proxy_on_configure(_context, _size) -> YES
    proxy_on_request_body(_context, _size, _end_of_stream) -> CONTINUE
    proxy_on_response_headers(_context, _headers, _end_of_stream) -> CONTINUE
    proxy_on_response_body(_context, _size, _end_of_stream) -> CONTINUE
    proxy_on_done(_context) -> YES
    proxy_on_log(_context)
    proxy_on_delete(_context)
}

// Counters are defined there.
#[cfg(not(policy = "count"))]
callbacks! {
    proxy_on_vm_start(_context, _size) -> YES
}
