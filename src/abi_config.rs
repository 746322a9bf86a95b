//! The front of feature `config`: the policy comes from the plugin's configuration.
//!
//! `proxy_on_configure` reads it once; after that a request is decided as by the default front ([`decide`]), by the
//! policy in memory. A host may run several plugins in one virtual machine, each with a root context. Only
//! `proxy_on_context_create` says to which of them a request belongs, so this front has that callback; a request
//! whose root context has no policy is denied.
//!
//! A callback from inside another one is refused.

#![allow(unsafe_code)]

mod memory;
mod request;

use core::ptr;

use header_gate_config::{NONE, ROOM, Reason, flag};

use crate::abi_host::{
    COUNTER, OK, PAUSE, UNDEFINED, proxy_define_metric, proxy_send_local_response,
};
use crate::count::NAMES;
use crate::decide::decide;
use memory::{Asked, MEMORY, clear_free, delivered, lend, place, store, store_mut, text};
use request::Request;

/// `BufferType::PluginConfiguration`.
const PLUGIN_CONFIGURATION: u32 = 7;
/// `LogLevel::Error`.
const ERROR: u32 = 4;
/// `WasmResult::BadArgument`: there is no such context.
const BAD_ARGUMENT: u32 = 2;
/// The status for a request without a policy.
const UNAVAILABLE: u32 = 503;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        length: usize,
        data: *mut usize,
        size: *mut usize,
    ) -> u32;
    fn proxy_log(level: u32, message_data: *const u8, message_size: usize) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
}

/// Remembers the root context of a request.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    place(context).set([context, root]);
}

/// Decides a request when its headers have arrived.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    if MEMORY.asked.get() != Asked::Idle {
        // From inside a callback: that request waits for ever.
        return PAUSE;
    }
    MEMORY.asked.set(Asked::Nothing);
    let [owner, root] = place(context).get();
    let base = if owner == context { store().base(root) } else { NONE };
    MEMORY.base.set(base);
    let action = if base == NONE { deny_unknown() } else { decide(&Request { base }) };
    MEMORY.asked.set(Asked::Idle);
    action
}

/// Denies a request without a policy.
fn deny_unknown() -> u32 {
    // No headers: their number, 0.
    MEMORY.data.set(0);
    let headers = MEMORY.data.as_ptr().cast::<u8>();
    // SAFETY: the address and size are those of a static, which the host only reads; the other texts are empty.
    let _ = unsafe {
        proxy_send_local_response(UNAVAILABLE, ptr::null(), 0, ptr::null(), 0, headers, 4, -1)
    };
    PAUSE
}

/// Takes the configuration of a root context over: whole, or not at all.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    if MEMORY.asked.get() != Asked::Idle {
        // From inside a callback.
        return 0;
    }
    MEMORY.asked.set(Asked::Nothing);
    forget(root);
    clear_free();
    if store_mut().begin(size as u32) {
        ask(size);
    }
    let is_taken = store_mut().take(root);
    if !is_taken {
        let size = store_mut().write_refusal() as usize;
        // SAFETY: address and size are those of a part of a static, which the host only reads.
        let _ = unsafe { proxy_log(ERROR, text(), size) };
    } else if store().is(store().base(root), flag::COUNT) {
        define();
    }
    // Nothing of a configuration that was refused is kept.
    clear_free();
    MEMORY.asked.set(Asked::Idle);
    is_taken.into()
}

/// Asks the host for a configuration.
fn ask(size: usize) {
    lend(ROOM + store().start() as usize, size);
    // SAFETY: the results are a word of the static each.
    let status = unsafe {
        proxy_get_buffer_bytes(
            PLUGIN_CONFIGURATION,
            0,
            size,
            MEMORY.data.as_ptr(),
            MEMORY.size.as_ptr(),
        )
    };
    let is_delivered = delivered(status) == size;
    store_mut().fail_unless(is_delivered, Reason::Delivery);
}

/// Forgets the policies of root contexts that the host has deleted.
fn forget(root: u32) {
    // SAFETY: the host gets a number, and sets the context for further calls to it if there is one. It has been lent
    // nothing, and a callback from inside this one ends before it uses the store.
    let lives = |id| unsafe { proxy_set_effective_context(id) } != BAD_ARGUMENT;
    store_mut().retain(lives);
    let _ = lives(root);
}

/// Defines the counters. A host that refuses changes no decision.
fn define() {
    for (metric, (name, _)) in MEMORY.metrics.iter().zip(&NAMES) {
        // SAFETY: name and size are those of a constant; the result is an element of the static.
        let status =
            unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), metric.as_ptr()) };
        if status != OK {
            metric.set(UNDEFINED);
        }
    }
}
