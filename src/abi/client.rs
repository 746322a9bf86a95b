//! The header that names the client to the upstream.

use super::{HTTP_REQUEST_HEADERS, OK, host_removes};
use crate::abi_host::proxy_replace_header_map_value;
use crate::client::id;
use crate::policy::CLIENT_HEADER;

/// Writes the client's name to the header, in place of all its values.
pub fn host_takes(client: usize) -> bool {
    let Some(name) = CLIENT_HEADER else { return true };
    let Some(id) = id(client) else { return false };
    // SAFETY: addresses and sizes are those of constants, which the host only reads.
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

/// Takes the header off a request that passes without a client: only the gate writes it.
pub fn host_takes_none() -> bool {
    CLIENT_HEADER.is_none_or(|name| host_removes(name.as_bytes()))
}
