//! A request, decided by the policy of its root context.

use core::slice;

use header_gate_config::{Text, field, flag};

use super::memory::{Asked, MEMORY, clear, delivered, image, lend, store, store_mut, text};
use crate::abi_host::{
    HTTP_REQUEST_HEADERS, NOT_FOUND, OK, proxy_get_header_map_value, proxy_increment_metric,
    proxy_remove_header_map_value, proxy_replace_header_map_value, proxy_send_local_response,
};
use crate::decide::{Answer, Gate};
use crate::except::{self, Exemptions, Fields};
use crate::policy::EXCEPT_ROOM;

/// A request, by the place of its policy.
pub struct Request {
    pub base: u32,
}

impl Request {
    /// A text of the policy.
    fn text(&self, text: u32) -> Text {
        store().text_of(self.base, text)
    }

    /// The address of a text of the policy.
    fn address(&self, text: Text) -> *const u8 {
        store().bytes.as_ptr().wrapping_add((self.base + text.at()) as usize)
    }

    fn is(&self, flag: u32) -> bool {
        store().is(self.base, flag)
    }

    /// Where the host writes the size of a value: the last four bytes of its image.
    fn size(&self) -> *mut u32 {
        image().wrapping_add(store().image_size(self.base) as usize - size_of::<u32>()).cast()
    }

    /// Takes a header off the request, all of its values.
    #[inline(never)]
    fn host_removes(&self, name: u32) -> bool {
        let name = self.text(name);
        // SAFETY: key and size are those of a text in the store, which the host only reads.
        let status = unsafe {
            proxy_remove_header_map_value(
                HTTP_REQUEST_HEADERS,
                self.address(name),
                name.size() as usize,
            )
        };
        status == OK
    }
}

impl Gate for Request {
    fn ask(&self) -> Answer {
        let (size, header) = (self.size(), self.text(field::HEADER));
        clear(image(), store().image_size(self.base) as usize);
        MEMORY.data.set(0);
        MEMORY.asked.set(Asked::Header);
        // SAFETY: key and size are those of a text in the store; the results are an aligned word of a static each.
        let (status, size) = unsafe {
            let status = proxy_get_header_map_value(
                HTTP_REQUEST_HEADERS,
                self.address(header),
                header.size() as usize,
                MEMORY.data.as_ptr(),
                size,
            );
            (status, size.read_volatile())
        };
        MEMORY.asked.set(Asked::Nothing);
        MEMORY.size.set(size as usize);
        let is_delivered = status == OK && MEMORY.data.get() == image().addr();
        let mut slot = 0;
        if is_delivered && store().accepts_size(self.base, size) {
            store_mut().make_key(self.base, size);
            slot = store().find(self.base);
        }
        Answer { is_accepted: slot != 0, client: slot, status }
    }

    fn host_removes(&self) -> bool {
        !self.is(flag::REMOVE) || self.host_removes(field::HEADER)
    }

    fn host_takes(&self, client: u32) -> bool {
        let (name, id) = (self.text(field::CLIENT_HEADER), store().id(self.base, client));
        if name.size() == 0 {
            return true;
        }
        // SAFETY: addresses and sizes are those of texts in the store, which the host only reads.
        let status = unsafe {
            proxy_replace_header_map_value(
                HTTP_REQUEST_HEADERS,
                self.address(name),
                name.size() as usize,
                self.address(id),
                id.size() as usize,
            )
        };
        status == OK
    }

    fn host_takes_none(&self) -> bool {
        self.text(field::CLIENT_HEADER).size() == 0 || self.host_removes(field::CLIENT_HEADER)
    }

    fn is_missing(&self, answer: Answer) -> bool {
        let is_missing =
            answer.status == NOT_FOUND || answer.status == OK && MEMORY.size.get() == 0;
        self.is(flag::MISSING_DETAILS) && is_missing
    }

    fn is_exempt(&self) -> bool {
        except::is_exempt_by(self, self)
    }

    fn enforces(&self) -> bool {
        self.is(flag::ENFORCE)
    }

    #[inline(never)]
    fn count(&self, counter: usize) {
        if self.is(flag::COUNT) {
            // SAFETY: the host gets two numbers.
            let _ = unsafe { proxy_increment_metric(MEMORY.metrics[counter % 4].get(), 1) };
        }
    }

    fn deny(&self, is_missing: bool) {
        let details = if is_missing { field::MISSING_DETAILS } else { field::DETAILS };
        let (details, body) = (self.text(details), self.text(field::BODY));
        let headers = self.text(field::HEADERS);
        // SAFETY: each address and size is that of a text in the store, which the host only reads. The request stays
        // stopped even if the host fails to send the denial.
        let _ = unsafe {
            proxy_send_local_response(
                store().field(self.base, field::STATUS),
                self.address(details),
                details.size() as usize,
                self.address(body),
                body.size() as usize,
                self.address(headers),
                headers.size() as usize,
                store().field(self.base, field::GRPC_STATUS).cast_signed(),
            )
        };
    }
}

impl Exemptions for Request {
    fn has_methods(&self) -> bool {
        self.text(field::METHODS).size() > 0
    }

    fn has_preflight(&self) -> bool {
        self.is(flag::PREFLIGHT)
    }

    fn has_paths(&self) -> bool {
        self.text(field::PATHS).size() > 0
    }

    // What is compared lies where texts are lent.
    fn is_method(&self, method: &[u8]) -> bool {
        store().is_listed(self.base, field::METHODS, method.len() as u32)
    }

    fn is_path(&self, path: &[u8]) -> bool {
        store().is_listed(self.base, field::PATHS, path.len() as u32)
    }
}

/// Asks the host for a header of the request. Returns the size of its value only if the host returns Ok and
/// the address and size of memory that it was lent during this call; 0 otherwise.
#[inline(never)]
fn ask(name: &'static str) -> usize {
    lend(0, EXCEPT_ROOM);
    // SAFETY: name and size are those of a constant; the results are a word of the static each.
    let status = unsafe {
        proxy_get_header_map_value(
            HTTP_REQUEST_HEADERS,
            name.as_ptr(),
            name.len(),
            MEMORY.data.as_ptr(),
            MEMORY.size.as_ptr().cast(),
        )
    };
    delivered(status).min(EXCEPT_ROOM)
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
