//! The header that names the client to the upstream.

use super::abi::{Buffer, Request, set};
use crate::client::id;
use crate::policy::CLIENT_HEADER;

/// Writes the client's name to the header.
pub fn takes(request: Request, client: usize) -> bool {
    let Some(name) = CLIENT_HEADER else { return true };
    id(client).is_some_and(|id| set(request, name, Buffer::of_bytes(id)))
}

/// Takes the header off a request that passes without a client: only the gate writes it.
pub fn takes_none(request: Request) -> bool {
    CLIENT_HEADER.is_none_or(|name| set(request, name, Buffer::NONE))
}
