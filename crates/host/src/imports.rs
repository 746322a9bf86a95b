//! The host's side of the ABI: the functions that a module imports.

use anyhow::{Context as _, Result, bail};
use header_gate_policy::Policy;

use crate::Cost;
use crate::engine::Guest;
use crate::reply::{INVALID_MEMORY_ACCESS, OK, Place, Reply, Status, Step};

/// The functions that modules may import from `env`, and how many numbers they take.
pub const FUNCTIONS: [(&str, usize); 3] = [(GET, 5), (SEND, 8), (LOG, 3)];
const GET: &str = "proxy_get_header_map_value";
const SEND: &str = "proxy_send_local_response";
const LOG: &str = "proxy_log";

/// The host's state for one virtual machine.
#[derive(Default)]
pub struct State {
    pub reply: Reply,
    pub asked: Vec<Asked>,
    pub response: Option<LocalResponse>,
    pub log: Vec<String>,
    pub cost: Cost,
}

/// A module's question for a header: the map (0 holds the request's headers) and the name.
pub type Asked = (u32, Vec<u8>);

/// Names and values in order.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A response that a module sent by `proxy_send_local_response`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u32,
    /// For the access log.
    pub details: Vec<u8>,
    /// Header pairs.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// -1 for none.
    pub grpc_status: i32,
}

impl LocalResponse {
    /// The denial that `policy` describes.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let deny = policy.deny.clone();
        Self {
            status: deny.status.into(),
            details: deny.details.into(),
            headers: deny.headers.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            body: deny.body.into(),
            grpc_status: -1,
        }
    }
}

/// Carries out the module's call of the function `name`.
pub fn call(name: &str, guest: &mut dyn Guest, args: &[u32]) -> Result<Status> {
    guest.state().cost.host_calls += 1;
    match (name, args) {
        (GET, &[map, key, key_size, data, size]) => {
            let key = read(guest, key, key_size)?;
            guest.state().asked.push((map, key));
            deliver(guest, data, size)
        }
        (SEND, &[status, details, details_size, body, body_size, headers, headers_size, grpc]) => {
            let headers = pairs(&read(guest, headers, headers_size)?);
            let response = LocalResponse {
                status,
                details: read(guest, details, details_size)?,
                headers: headers.context("malformed header pairs")?,
                body: read(guest, body, body_size)?,
                grpc_status: grpc.cast_signed(),
            };
            let status = answer(guest)?;
            if status == OK {
                guest.state().response = Some(response);
            }
            Ok(status)
        }
        (LOG, &[_level, message, size]) => {
            let line = String::from_utf8_lossy(&read(guest, message, size)?).into_owned();
            guest.state().log.push(line);
            answer(guest)
        }
        _ => bail!("{name} has {} arguments", args.len()),
    }
}

/// Carries out the steps of the reply.
fn deliver(guest: &mut dyn Guest, data: u32, size: u32) -> Result<Status> {
    let Reply { steps, mut status, .. } = guest.state().reply.clone();
    let mut allocated = Vec::new();
    for step in steps {
        let address = |place| match place {
            Place::Allocated(n) => allocated.get(n).copied().unwrap_or_default(),
            Place::At(address) => address,
        };
        let done = match step {
            Step::Allocate(size) => {
                allocated.extend(allocate(guest, size)?);
                Ok(())
            }
            Step::Write(place, bytes) => write(guest, address(place), &bytes),
            Step::Data(place) => write(guest, data, &address(place).to_le_bytes()),
            Step::Size(value_size) => write(guest, size, &value_size.to_le_bytes()),
        };
        if let Err(outside) = done {
            status = outside;
            break;
        }
    }
    Ok(status)
}

/// What the host does while the module sends its response or logs.
fn answer(guest: &mut dyn Guest) -> Result<Status> {
    for size in guest.state().reply.later.clone() {
        allocate(guest, size)?;
    }
    Ok(guest.state().reply.other_status)
}

/// Calls the module's allocator, if it has one.
pub fn allocate(guest: &mut dyn Guest, size: u32) -> Result<Option<u32>> {
    for name in ["malloc", "proxy_on_memory_allocate"] {
        if let Some(address) = guest.call(name, &[size])? {
            guest.state().cost.allocations += 1;
            return Ok(Some(address));
        }
    }
    Ok(None)
}

/// Reads what the module points to. Our plugins never point outside their memory: that is a trap.
fn read(guest: &mut dyn Guest, at: u32, size: u32) -> Result<Vec<u8>> {
    let bytes = guest.memory().get(at as usize..at as usize + size as usize);
    bytes.map(<[u8]>::to_vec).context("a pointer outside memory")
}

fn write(guest: &mut dyn Guest, at: u32, bytes: &[u8]) -> Result<(), Status> {
    let range = at as usize..at as usize + bytes.len();
    let room = guest.memory().get_mut(range).ok_or(INVALID_MEMORY_ACCESS)?;
    room.copy_from_slice(bytes);
    Ok(())
}

/// Parses header pairs in the ABI's serialized form; `None` if it is malformed.
#[must_use]
pub fn pairs(form: &[u8]) -> Option<Headers> {
    let word =
        |at: usize| Some(u32::from_le_bytes(form.get(at..at + 4)?.try_into().ok()?) as usize);
    let count = word(0)?;
    let mut at = 4 + 8 * count;
    let mut text = |size: usize| {
        let text = form.get(at..at + size)?.to_vec();
        let end = form.get(at + size)?;
        at += size + 1;
        (*end == 0).then_some(text)
    };
    let pairs: Option<Vec<_>> =
        (0..count).map(|i| Some((text(word(4 + 8 * i)?)?, text(word(8 + 8 * i)?)?))).collect();
    (at == form.len()).then_some(pairs?)
}
