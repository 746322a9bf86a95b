//! A request, decided by the policy of its root context.

use core::slice;

use header_gate_config::policy::{
    BODY, CLIENT_HEADER, COUNT, DETAILS, ENFORCE, HAS_MISSING_DETAILS, HEADER, HEADERS, METHODS,
    MISSING_DETAILS, PATHS, PREFLIGHT, REMOVE,
};
use header_gate_config::{Image, NONE, Root, Store, is_listed};

use super::{Asked, EXCEPT_ROOM, MEMORY, store, text};
use crate::abi_host::{
    HTTP_REQUEST_HEADERS, NOT_FOUND, OK, proxy_get_header_map_value, proxy_increment_metric,
    proxy_remove_header_map_value, proxy_replace_header_map_value, proxy_send_local_response,
};
use crate::decide::{Answer, Gate};
use crate::except::{self, Exemptions, Fields};

/// A request.
pub struct Request {
    /// Its root context.
    pub root: &'static Root,
}

impl Request {
    /// A text of the policy.
    #[expect(clippy::inline_always, reason = "a slice would be returned on the stack")]
    #[inline(always)]
    fn text(&self, text: usize) -> &'static [u8] {
        store().text(self.root, self.root.policy.texts[text])
    }

    /// Where the host writes the size of a value: the last four bytes of its image.
    fn size(&self) -> *mut u32 {
        let last = Store::words(self.root).wrapping_sub(1).min(size_of::<Image>() / 8 - 1);
        MEMORY.image.get().cast::<u32>().wrapping_add(2 * last + 1)
    }

    /// Takes a header off the request, all of its values.
    #[inline(never)]
    fn host_removes(&self, name: usize) -> bool {
        let name = self.text(name);
        // SAFETY: key and size are those of a text in the store, which the host only reads.
        let status = unsafe {
            proxy_remove_header_map_value(HTTP_REQUEST_HEADERS, name.as_ptr(), name.len())
        };
        status == OK
    }
}

impl Gate for Request {
    fn ask(&self) -> Answer {
        let (size, data, header) = (self.size(), MEMORY.data.get(), self.text(HEADER));
        let image = MEMORY.image.get().cast::<u64>();
        for word in 0..Store::words(self.root) {
            // SAFETY: inside the image, to which no reference exists. Volatile, so that the writes are not joined into
            // a call of memset.
            unsafe { image.add(word).write_volatile(0) };
        }
        MEMORY.asked.set(Asked::Header);
        // SAFETY: key and size are those of a text in the store; the results are an aligned word each, to which no
        // reference exists while the host writes.
        let (status, data, size) = unsafe {
            data.write_volatile(0);
            let status = proxy_get_header_map_value(
                HTTP_REQUEST_HEADERS,
                header.as_ptr(),
                header.len(),
                data,
                size,
            );
            (status, data.read_volatile(), size.read_volatile() as usize)
        };
        MEMORY.asked.set(Asked::Busy);
        let is_delivered = status == OK
            && data == MEMORY.image.get().addr()
            && store().accepts_size(self.root, size);
        let mut client = NONE;
        if is_delivered {
            // SAFETY: the host has returned, so nothing writes until this function does, and nothing else refers to
            // them.
            let (image, scratch) =
                unsafe { (&mut *MEMORY.image.get(), &mut *MEMORY.scratch.get()) };
            client = store().find(self.root, size, image, scratch);
        }
        Answer { is_accepted: client != NONE, client, status }
    }

    fn host_removes(&self) -> bool {
        !self.root.policy.is(REMOVE) || self.host_removes(HEADER)
    }

    fn host_takes(&self, client: usize) -> bool {
        let name = self.text(CLIENT_HEADER);
        if name.is_empty() {
            return true;
        }
        let id = store().id(self.root, client);
        // SAFETY: addresses and sizes are those of texts in the store, which the host only reads.
        let status = unsafe {
            proxy_replace_header_map_value(
                HTTP_REQUEST_HEADERS,
                name.as_ptr(),
                name.len(),
                id.as_ptr(),
                id.len(),
            )
        };
        status == OK
    }

    fn host_takes_none(&self) -> bool {
        self.text(CLIENT_HEADER).is_empty() || self.host_removes(CLIENT_HEADER)
    }

    fn is_missing(&self, answer: Answer) -> bool {
        // SAFETY: the host, the only other writer, does not run.
        let is_empty = answer.status == OK && unsafe { self.size().read_volatile() } == 0;
        self.root.policy.is(HAS_MISSING_DETAILS) && (answer.status == NOT_FOUND || is_empty)
    }

    fn is_exempt(&self) -> bool {
        except::is_exempt_by(self, self)
    }

    fn enforces(&self) -> bool {
        self.root.policy.is(ENFORCE)
    }

    fn count(&self, counter: usize) {
        if self.root.policy.is(COUNT) {
            // SAFETY: the host does not run while the number is read, and gets it by value.
            let _ = unsafe { proxy_increment_metric((*MEMORY.metrics.get())[counter], 1) };
        }
    }

    fn deny(&self, is_missing: bool) {
        let details = self.text(if is_missing { MISSING_DETAILS } else { DETAILS });
        let (body, headers) = (self.text(BODY), self.text(HEADERS));
        let policy = &self.root.policy;
        // SAFETY: each address and size is that of a text in the store, which the host only reads. The request stays
        // stopped even if the host fails to send the denial.
        let _ = unsafe {
            proxy_send_local_response(
                policy.status,
                details.as_ptr(),
                details.len(),
                body.as_ptr(),
                body.len(),
                headers.as_ptr(),
                headers.len(),
                policy.grpc_status,
            )
        };
    }
}

impl Exemptions for Request {
    fn has_methods(&self) -> bool {
        self.root.policy.texts[METHODS].size > 0
    }

    fn has_preflight(&self) -> bool {
        self.root.policy.is(PREFLIGHT)
    }

    fn has_paths(&self) -> bool {
        self.root.policy.texts[PATHS].size > 0
    }

    fn is_method(&self, method: &[u8]) -> bool {
        is_listed(self.text(METHODS), method)
    }

    fn is_path(&self, path: &[u8]) -> bool {
        is_listed(self.text(PATHS), path)
    }
}

/// Asks the host for a header of the request. Returns the size of its value only if the host returns Ok and
/// the address and size of memory that it was lent during this call; 0 otherwise.
#[inline(never)]
fn ask(name: &'static str) -> usize {
    let (data, size) = (MEMORY.data.get(), MEMORY.size.get());
    MEMORY.lent.set(0);
    MEMORY.asked.set(Asked::Field);
    // SAFETY: name and size are those of a constant; the results are a word of the static each, to which no reference
    // exists while the host writes.
    let (status, data, size) = unsafe {
        data.write_volatile(0);
        size.write_volatile(0);
        let status = proxy_get_header_map_value(
            HTTP_REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            data,
            size.cast(),
        );
        (status, data.read_volatile(), size.read_volatile())
    };
    MEMORY.asked.set(Asked::Busy);
    let is_lent = status == OK && size == MEMORY.lent.get() && data == text().addr();
    if is_lent && size <= EXCEPT_ROOM { size } else { 0 }
}

impl Fields for Request {
    #[expect(clippy::inline_always, reason = "a slice would be returned on the stack")]
    #[inline(always)]
    fn field(&self, name: &'static str) -> &[u8] {
        let size = ask(name);
        // SAFETY: that many bytes of the static were lent; nothing writes to them while the slice lives, which is until
        // the next question.
        unsafe { slice::from_raw_parts(text(), size) }
    }
}
