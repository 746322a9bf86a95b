//! The memory of the configured gate, all of it static and zero at the start, and what of it the host is lent.
//!
//! [`Memory::asked`] says what the host may be lent while it runs, and whether the module runs at all.

#![allow(unsafe_code)]

use core::cell::{Cell, UnsafeCell};
use core::mem::offset_of;

use header_gate_config::{BYTES, ROOM, Store, limits};

use crate::abi_host::{OK, REFUSED};
use crate::count::COUNTERS;

/// What the host was asked for, and so what the allocator lends.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Asked {
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
pub struct Memory {
    pub asked: Cell<Asked>,
    /// The size of the text that was lent, or 0.
    lent: Cell<usize>,
    /// The longest text that is lent, and where: 0 for a text of a request, or the place of a configuration.
    room: Cell<usize>,
    start: Cell<usize>,
    /// Where the policy of the request begins.
    pub base: Cell<u32>,
    /// The host writes an address and a size here.
    pub data: Cell<usize>,
    pub size: Cell<usize>,
    pub metrics: [Cell<u32>; COUNTERS],
    store: UnsafeCell<Store>,
    /// Requests and their root contexts.
    contexts: [Cell<[u32; 2]>; CONTEXTS],
}

// SAFETY: a WebAssembly instance without shared memory runs on one thread at a time, and this module
// neither declares nor imports shared memory (`verify` checks every artifact for it).
unsafe impl Sync for Memory {}

pub static MEMORY: Memory = Memory {
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
pub fn store() -> &'static Store {
    // SAFETY: nothing has a reference that writes: those of `store_mut` end with the call that they are made for, and
    // none of these calls this. The host writes only to what it was lent, while the module waits for it, and then no
    // reference to that is used any more; a callback from inside another one ends before it makes one, and `malloc`
    // only reads.
    unsafe { &*MEMORY.store.get() }
}

/// The same, to write.
#[expect(clippy::mut_from_ref, reason = "one reference lives at a time")]
pub fn store_mut() -> &'static mut Store {
    // SAFETY: as for `store`, no other reference is in use: it ends with the call that it is made for. `forget` alone
    // calls the host meanwhile, which is lent nothing then.
    unsafe { &mut *MEMORY.store.get() }
}

/// Where a value is lent.
pub fn image() -> *mut u8 {
    // SAFETY: a field of the static.
    unsafe { (&raw mut (*MEMORY.store.get()).image).cast() }
}

/// Where a text of a request is lent, and a line for the log is written.
pub fn text() -> *mut u8 {
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
pub fn clear(start: *mut u8, size: usize) {
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
pub fn place(context: u32) -> &'static Cell<[u32; 2]> {
    &MEMORY.contexts[context as usize % CONTEXTS]
}

/// Clears what is behind all policies. What is zero is only read: a page that is never written takes no memory.
#[inline(never)]
pub fn clear_free() {
    let mut at = ROOM + store().free() as usize;
    while at < ROOM + BYTES {
        // SAFETY: inside the text and the policies behind it, a part of the static.
        if unsafe { text().add(at).cast::<u64>().read_volatile() } != 0 {
            clear(text().wrapping_add(at), size_of::<u64>());
        }
        at += size_of::<u64>();
    }
}

/// Lets the host have room for a text of so many bytes, once.
#[inline(never)]
pub fn lend(start: usize, room: usize) {
    MEMORY.start.set(start);
    MEMORY.room.set(room);
    MEMORY.asked.set(Asked::Text);
}

/// The size of the text that the host has delivered to the place where it was lent room, during this call; 0 if it did not.
pub fn delivered(status: u32) -> usize {
    MEMORY.asked.set(Asked::Nothing);
    let size = MEMORY.lent.take();
    let is_lent = MEMORY.data.take() == room().addr() && MEMORY.size.take() == size;
    if status == OK && is_lent { size } else { 0 }
}
