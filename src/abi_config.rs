//! The front of feature `config`: the policy comes from the plugin's configuration.
//!
//! `proxy_on_configure` reads it once; after that a request is decided as by the default front ([`decide`]), by the
//! policy in memory. A host may run several plugins in one virtual machine, each with a root context. Only
//! `proxy_on_context_create` says to which of them a request belongs, so this front has that callback; a request
//! whose root context has no policy is denied.
//!
//! Memory is all static, and zero at the start. While the host runs, [`Memory::asked`] says what it may be lent.

#![allow(unsafe_code)]

mod memory;
mod request;

use core::cell::{Cell, UnsafeCell};
use core::ptr;

use header_gate_config::policy::COUNT;
use header_gate_config::{Image, NONE, Reason, Refusal, Root, Scratch, Store, Table, limits};

use crate::abi_host::{
    COUNTER, OK, PAUSE, REFUSED, proxy_define_metric, proxy_send_local_response,
};
use crate::count::{COUNTERS, NAMES};
use crate::decide::decide;
use crate::policy::EXCEPT_ROOM;
use request::Request;

/// `BufferType::PluginConfiguration`.
const PLUGIN_CONFIGURATION: u32 = 7;
/// `LogLevel::Error`.
const ERROR: u32 = 4;
/// `WasmResult::BadArgument`: there is no such context.
const BAD_ARGUMENT: u32 = 2;
/// The status for a request without a policy, which nobody wrote.
const UNAVAILABLE: u32 = 503;
/// The serialized form of no headers.
const NO_HEADERS: [u8; 4] = [0; 4];

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        length: usize,
        data: *mut usize,
        size: *mut usize,
    ) -> u32;
    #[inline(never)]
    fn proxy_set_effective_context(context: u32) -> u32;
}

/// What the host was asked for, and so what the allocator lends.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Asked {
    /// The module does not run.
    Nothing,
    /// It runs, and asks for nothing now.
    Busy,
    /// The header of the policy.
    Header,
    /// Another header of the request.
    Field,
    /// The configuration.
    Configuration,
}

/// The requests whose root context is remembered: hosts call for a request's headers soon after they created it.
const CONTEXTS: usize = 1024;

/// The whole memory of the module.
#[repr(C)]
struct Memory {
    asked: Cell<Asked>,
    /// The size of what was lent for a field or a configuration; before that, 0 if any size will do, or the size that
    /// is expected.
    lent: Cell<usize>,
    /// The place of the request's root context in the store.
    root: Cell<usize>,
    /// The host writes an address and a size here.
    data: UnsafeCell<usize>,
    size: UnsafeCell<usize>,
    metrics: UnsafeCell<[u32; COUNTERS]>,
    /// A request's value as an image.
    image: UnsafeCell<Image>,
    /// A configuration, or another header of a request.
    text: UnsafeCell<[u8; limits::TEXT]>,
    /// Requests and their root contexts.
    contexts: UnsafeCell<[[u32; 2]; CONTEXTS]>,
    scratch: UnsafeCell<Scratch>,
    store: UnsafeCell<Store>,
}

// SAFETY: a WebAssembly instance without shared memory runs on one thread at a time, and this module
// neither declares nor imports shared memory (`verify` checks every artifact for it).
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory {
    asked: Cell::new(Asked::Nothing),
    lent: Cell::new(0),
    root: Cell::new(0),
    data: UnsafeCell::new(0),
    size: UnsafeCell::new(0),
    metrics: UnsafeCell::new([0; COUNTERS]),
    image: UnsafeCell::new([0; _]),
    text: UnsafeCell::new([0; _]),
    contexts: UnsafeCell::new([[0; 2]; _]),
    scratch: UnsafeCell::new(Scratch::new()),
    store: UnsafeCell::new(Store::new()),
};

fn text() -> *mut u8 {
    MEMORY.text.get().cast()
}

/// The policies.
fn store() -> &'static Store {
    // SAFETY: only `configure` writes to the store, and no other call of the module runs then: each asks `asked` first.
    unsafe { &*MEMORY.store.get() }
}

/// The root context of the request that is decided.
fn root() -> Option<&'static Root> {
    store().root(MEMORY.root.get())
}

/// Where a host may write a text of `size` bytes: what it was asked for decides.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    let lent = MEMORY.lent.get();
    match MEMORY.asked.get() {
        Asked::Header if root().is_some_and(|root| store().accepts_size(root, size)) => {
            MEMORY.image.get().cast()
        }
        Asked::Field if lent == 0 && size <= EXCEPT_ROOM => {
            clear(size);
            MEMORY.lent.set(size);
            text()
        }
        // Once, and cleared before.
        Asked::Configuration if lent == size => {
            MEMORY.lent.set(0);
            text()
        }
        _ => REFUSED,
    }
}

/// Clears the beginning of the text.
#[inline(never)]
fn clear(size: usize) {
    for at in 0..size.min(limits::TEXT) {
        // SAFETY: inside the static; nothing refers to it. Volatile, so that the writes are not joined into a call of
        // memset.
        unsafe { text().add(at).write_volatile(0) };
    }
}

/// Marks the ABI version; as in the default front, one function with two names.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1(size: usize) -> *mut u8 {
    malloc(size)
}

/// Remembers the root context of a request.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, root: u32) {
    // SAFETY: no other reference to the table exists: the others are not kept.
    let contexts = unsafe { &mut *MEMORY.contexts.get() };
    contexts[context as usize % CONTEXTS] = [context, root];
}

/// Decides a request when its headers have arrived.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _headers: u32, _end_of_stream: u32) -> u32 {
    if MEMORY.asked.get() != Asked::Nothing {
        // The host calls from inside a call. That request waits for ever.
        return PAUSE;
    }
    // SAFETY: as in `proxy_on_context_create`.
    let [owner, root] = unsafe { (*MEMORY.contexts.get())[context as usize % CONTEXTS] };
    let index = if owner == context { store().index(root) } else { NONE };
    MEMORY.asked.set(Asked::Busy);
    MEMORY.root.set(index);
    let action = match store().root(index) {
        Some(root) => decide(&Request { root }),
        None => deny_unknown(),
    };
    MEMORY.asked.set(Asked::Nothing);
    action
}

/// Denies a request without a policy.
fn deny_unknown() -> u32 {
    // SAFETY: the address and size are those of a static, which the host only reads; the other texts are empty.
    let _ = unsafe {
        proxy_send_local_response(
            UNAVAILABLE,
            ptr::null(),
            0,
            ptr::null(),
            0,
            NO_HEADERS.as_ptr(),
            NO_HEADERS.len(),
            -1,
        )
    };
    PAUSE
}

/// Takes the configuration of a root context over: whole, or not at all.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, size: usize) -> u32 {
    if MEMORY.asked.get() != Asked::Nothing {
        // The host calls from inside a call.
        return 0;
    }
    MEMORY.asked.set(Asked::Busy);
    let taken = configure(root, size);
    // What a configuration says is nowhere but in the store.
    clear(size);
    if let Err(refusal) = taken {
        log(&refusal);
    }
    MEMORY.asked.set(Asked::Nothing);
    u32::from(taken.is_ok())
}

fn configure(root: u32, size: usize) -> Result<(), Refusal> {
    let refused = |reason| Refusal { table: Table::Policy, key: u8::MAX, reason, at: 0 };
    if size == 0 || size > limits::TEXT {
        return Err(refused(if size == 0 { Reason::Missing } else { Reason::Long }));
    }
    if !host_delivers(size) {
        return Err(refused(Reason::Delivery));
    }
    // SAFETY: the host is not called while these live, and no other call of the module is running.
    let (text, image, scratch) = unsafe {
        (&mut *MEMORY.text.get(), &mut *MEMORY.image.get(), &mut *MEMORY.scratch.get())
    };
    let text = text.get_mut(..size).unwrap_or_default();
    forget();
    // SAFETY: as above.
    let store = unsafe { &mut *MEMORY.store.get() };
    store.take(root, text, image, scratch)?;
    // SAFETY: as above.
    let _ = unsafe { proxy_set_effective_context(root) };
    define(root);
    Ok(())
}

/// Asks the host for the whole configuration.
fn host_delivers(size: usize) -> bool {
    clear(limits::TEXT);
    MEMORY.lent.set(size);
    MEMORY.asked.set(Asked::Configuration);
    let (data, delivered) = (MEMORY.data.get(), MEMORY.size.get());
    // SAFETY: both are words of the static, and nothing else refers to them.
    let (status, data, delivered) = unsafe {
        data.write(0);
        delivered.write(0);
        let status = proxy_get_buffer_bytes(PLUGIN_CONFIGURATION, 0, size, data, delivered);
        (status, data.read(), delivered.read())
    };
    MEMORY.asked.set(Asked::Busy);
    // 0 once it was lent.
    let left = MEMORY.lent.replace(0);
    status == OK && left == 0 && data == text().addr() && delivered == size
}

/// Forgets the policies of root contexts that the host has deleted.
fn forget() {
    // SAFETY: no reference to the store exists, and none is made before the host has answered: calls of the module
    // meanwhile are refused, and lend nothing.
    let store = unsafe { &mut *MEMORY.store.get() };
    // SAFETY: the host gets a number. It sets the context for further calls to it, if there is one.
    store.retain(|id| unsafe { proxy_set_effective_context(id) } != BAD_ARGUMENT);
}

/// Defines the counters that the policy of a root context needs. A host that refuses changes no decision.
fn define(root: u32) {
    let Some(root) = store().root(store().index(root)) else { return };
    if !root.policy.is(COUNT) {
        return;
    }
    for counter in 0..COUNTERS {
        let metric = MEMORY.metrics.get().cast::<u32>().wrapping_add(counter);
        let name = NAMES[counter].0;
        // SAFETY: name and size are those of a constant; the result is an element of the static, to which
        // no reference exists while the host writes.
        let _ = unsafe { proxy_define_metric(COUNTER, name.as_ptr(), name.len(), metric) };
    }
}

/// Writes a line about a refused configuration to the host's log.
fn log(refusal: &Refusal) {
    // SAFETY: nothing else refers to the text, and the host only reads it.
    unsafe {
        let size = refusal.write(&mut *MEMORY.text.get());
        let _ = proxy_log(ERROR, text(), size);
    }
}
