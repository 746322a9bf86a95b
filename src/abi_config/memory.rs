//! What the compiler calls to fill, copy and compare memory: the reader of configurations does so, and nothing else is
//! linked. Byte by byte; volatile, so that the compiler does not make calls of the same functions of it.

/// Fills memory with a byte.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, size: usize) -> *mut u8 {
    for at in 0..size {
        // SAFETY: the caller passes the address and size of memory that it may write.
        unsafe { to.add(at).write_volatile(byte as u8) };
    }
    to
}

/// Copies memory to other memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    for at in 0..size {
        // SAFETY: the caller passes two addresses and the size of what it may read there and write here.
        unsafe { to.add(at).write_volatile(from.add(at).read()) };
    }
    to
}

/// Copies memory to memory that may overlap it.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, size: usize) -> *mut u8 {
    if to.cast_const() <= from {
        // SAFETY: as the caller's; a byte is read before one is written there.
        return unsafe { memcpy(to, from, size) };
    }
    for at in (0..size).rev() {
        // SAFETY: as in `memcpy`.
        unsafe { to.add(at).write_volatile(from.add(at).read()) };
    }
    to
}

/// The difference of the first bytes that differ.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, size: usize) -> i32 {
    for at in 0..size {
        // SAFETY: the caller passes two addresses and the size of what it may read at both.
        let (a, b) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if a != b {
            return i32::from(a) - i32::from(b);
        }
    }
    0
}
