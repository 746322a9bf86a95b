//! The front of feature `config`: the policy comes from the plugin's configuration.
//!
//! `proxy_on_configure` reads it once; after that a request is decided as by the default front ([`decide`]), by the
//! policy in memory. A host may run several plugins in one virtual machine, each with a root context. Only
//! `proxy_on_context_create` says to which of them a request belongs, so this front has that callback; a request
//! whose root context has no policy is denied.
//!
//! All memory is static, and zero at the start. [`Memory::asked`] says what the host may be lent while it runs, and
//! whether the module runs at all: a callback from inside another one is refused.

#![allow(unsafe_code)]

mod request;

use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;
use core::ptr;

use header_gate_config::{BYTES, NONE, ROOM, Reason, Store, flag, limits};

use crate::abi_host::{
    COUNTER, OK, PAUSE, REFUSED, UNDEFINED, proxy_define_metric, proxy_send_local_response,
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

/// What the host was asked for, and so what the allocator lends.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Asked {
    /// The module does not run.
    Idle,
    /// It runs, and asks for nothing now.
    Nothing,
    /// The header of the policy.
    Header,
    /// Another header of the request, or the configuration.
    Text,
}

/// The requests whose root context is remembered: hosts call for a request's headers soon after they created it.
const CONTEXTS: usize = 1024;

/// The whole memory of the module. Small things first: their addresses take fewer bytes.
#[repr(C)]
struct Memory {
    asked: Cell<Asked>,
    /// The size of the text that was lent, or 0.
    lent: Cell<usize>,
    /// The longest text that is lent, and where: 0 for a text of a request, or the place of a configuration.
    room: Cell<usize>,
    start: Cell<usize>,
    /// Where the policy of the request begins.
    base: Cell<u32>,
    /// The host writes an address and a size here.
    data: Cell<usize>,
    size: Cell<usize>,
    metrics: [Cell<u32>; COUNTERS],
    store: UnsafeCell<Store>,
    /// Requests and their root contexts.
    contexts: [Cell<[u32; 2]>; CONTEXTS],
}

// SAFETY: a WebAssembly instance without shared memory runs on one thread at a time, and this module
// neither declares nor imports shared memory (`verify` checks every artifact for it).
unsafe impl Sync for Memory {}

static MEMORY: Memory = Memory {
    asked: Cell::new(Asked::Idle),
    lent: Cell::new(0),
    room: Cell::new(0),
    start: Cell::new(0),
    base: Cell::new(0),
    data: Cell::new(0),
    size: Cell::new(0),
    metrics: [const { Cell::new(0) }; _],
    store: UnsafeCell::new(Store::new()),
    contexts: [const { Cell::new([0; 2]) }; _],
};

/// The policies, and what is lent, to read.
fn store() -> &'static Store {
    // SAFETY: nothing has a reference that writes: those of `store_mut` end with the call that they are made for, and
    // none of these calls this. The host writes only to what it was lent, while the module waits for it, and then no
    // reference to that is used any more; a callback from inside another one ends before it makes one, and `malloc`
    // only reads.
    unsafe { &*MEMORY.store.get() }
}

/// The same, to write.
#[expect(clippy::mut_from_ref, reason = "one reference lives at a time")]
fn store_mut() -> &'static mut Store {
    // SAFETY: as for `store`, no other reference is in use: it ends with the call that it is made for. `forget` alone
    // calls the host meanwhile, which is lent nothing then.
    unsafe { &mut *MEMORY.store.get() }
}

/// Where a value is lent.
fn image() -> *mut u8 {
    // SAFETY: a field of the static.
    unsafe { (&raw mut (*MEMORY.store.get()).image).cast() }
}

/// Where a text of a request is lent, and a line for the log is written.
fn text() -> *mut u8 {
    // SAFETY: a field of the static. What is behind it, the policies, is a part of the static, too.
    unsafe { MEMORY.store.get().cast::<u8>().add(offset_of!(Store, text)) }
}

/// Where a text is lent now. A configuration begins before the end of the policies' bytes.
fn room() -> *mut u8 {
    text().wrapping_add(MEMORY.start.get() % BYTES)
}

/// Where a host may write a value or text of `size` bytes: what it was asked for decides.
#[unsafe(no_mangle)]
extern "C" fn malloc(size: usize) -> *mut u8 {
    match MEMORY.asked.get() {
        Asked::Header if store().accepts_size(MEMORY.base.get(), size as u32) => image(),
        // Once.
        Asked::Text if size <= MEMORY.room.take() => {
            clear(room(), size.min(limits::TEXT));
            MEMORY.lent.set(size);
            room()
        }
        _ => REFUSED,
    }
}

/// Clears the image, a text or what is behind all policies, in whole words: the last one may end behind `size`.
#[inline(never)]
fn clear(start: *mut u8, size: usize) {
    let mut at = 0;
    while at < size {
        // SAFETY: inside the image or what is lent, which ends with whole words: there is more room than for a text of a
        // request, and a configuration ends before the policies' bytes do. Volatile, so that the writes are not joined into
        // a call of memset.
        unsafe { start.add(at).cast::<u64>().write_volatile(0) };
        at += size_of::<u64>();
    }
}

/// Marks the ABI version; as in the default front, one function with two names.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1(size: usize) -> *mut u8 {
    malloc(size)
}

/// The place of a context in the table of contexts.
fn place(context: u32) -> &'static Cell<[u32; 2]> {
    &MEMORY.contexts[context as usize % CONTEXTS]
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

/// Clears what is behind all policies. What is zero is only read: a page that is never written takes no memory.
#[inline(never)]
fn clear_free() {
    let mut at = ROOM + store().free() as usize;
    while at < ROOM + BYTES {
        // SAFETY: inside the text and the policies behind it, a part of the static.
        if unsafe { text().add(at).cast::<u64>().read_volatile() } != 0 {
            clear(text().wrapping_add(at), size_of::<u64>());
        }
        at += size_of::<u64>();
    }
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

/// Lets the host have room for a text of so many bytes, once.
#[inline(never)]
fn lend(start: usize, room: usize) {
    MEMORY.start.set(start);
    MEMORY.room.set(room);
    MEMORY.asked.set(Asked::Text);
}

/// The size of the text that the host has delivered to the place where it was lent room, during this call; 0 if it did not.
fn delivered(status: u32) -> usize {
    MEMORY.asked.set(Asked::Nothing);
    let size = MEMORY.lent.take();
    let is_lent = MEMORY.data.take() == room().addr() && MEMORY.size.take() == size;
    if status == OK && is_lent { size } else { 0 }
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
