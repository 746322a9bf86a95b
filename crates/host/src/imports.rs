//! The host's side of the ABI: the functions that a module imports.

use header_gate_policy::Policy;
use wasmtime::{Caller, Linker, Memory, Module};

use crate::reply::{INVALID_MEMORY_ACCESS, OK, Place, Script, Status, Step};
use crate::{Allocator, Cost};

/// The host's state for one virtual machine.
#[derive(Default)]
pub struct State {
    pub memory: Option<Memory>,
    pub allocator: Option<Allocator>,
    pub script: Script,
    pub asked: Vec<Asked>,
    pub response: Option<LocalResponse>,
    pub log: Vec<String>,
    pub cost: Cost,
}

/// A module's call of `proxy_get_header_map_value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The map; 0 holds the request's headers.
    pub map: u32,
    /// The header's name.
    pub key: Vec<u8>,
    /// Where the host is to write the value's address.
    pub data: u32,
    /// Where the host is to write the value's size.
    pub size: u32,
}

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

/// Defines the functions that modules may import; calling any other import traps.
pub fn define(linker: &mut Linker<State>, module: &Module) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut caller: Caller<'_, State>, map: u32, key: u32, key_size: u32, data: u32, size: u32| {
            caller.data_mut().cost.host_calls += 1;
            let key = read(&caller, key, key_size)?;
            caller.data_mut().asked.push(Asked { map, key, data, size });
            deliver(&mut caller, data, size)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |mut caller: Caller<'_, State>,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         grpc_status: i32| {
            caller.data_mut().cost.host_calls += 1;
            let response = LocalResponse {
                status,
                details: read(&caller, details, details_size)?,
                headers: pairs(&read(&caller, headers, headers_size)?)
                    .ok_or_else(|| wasmtime::Error::msg("malformed header pairs"))?,
                body: read(&caller, body, body_size)?,
                grpc_status,
            };
            let status = answer(&mut caller)?;
            if status == OK {
                caller.data_mut().response = Some(response);
            }
            wasmtime::Result::Ok(status)
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_log",
        |mut caller: Caller<'_, State>, _level: u32, message: u32, size: u32| {
            caller.data_mut().cost.host_calls += 1;
            let line = String::from_utf8_lossy(&read(&caller, message, size)?).into_owned();
            caller.data_mut().log.push(line);
            answer(&mut caller)
        },
    )?;
    linker.define_unknown_imports_as_traps(module)?;
    Ok(())
}

/// Carries out the script. A write outside memory ends it.
fn deliver(caller: &mut Caller<'_, State>, data: u32, size: u32) -> wasmtime::Result<Status> {
    let Script { steps, mut status, .. } = caller.data().script.clone();
    let mut allocated = Vec::new();
    for step in steps {
        let address = |place| match place {
            Place::Allocated(n) => allocated.get(n).copied().unwrap_or_default(),
            Place::At(address) => address,
        };
        let done = match step {
            Step::Allocate(size) => {
                allocated.extend(allocate(caller, size)?);
                Ok(())
            }
            Step::Write(place, bytes) => write(caller, address(place), &bytes),
            Step::Data(place) => write(caller, data, &address(place).to_le_bytes()),
            Step::Size(value_size) => write(caller, size, &value_size.to_le_bytes()),
        };
        if let Err(outside) = done {
            status = outside;
            break;
        }
    }
    Ok(status)
}

/// What the host does while the module sends its response or logs.
fn answer(caller: &mut Caller<'_, State>) -> wasmtime::Result<Status> {
    for size in caller.data().script.later.clone() {
        allocate(caller, size)?;
    }
    Ok(caller.data().script.other_status)
}

/// Calls the module's allocator, if it has one.
fn allocate(caller: &mut Caller<'_, State>, size: u32) -> wasmtime::Result<Option<u32>> {
    let Some(allocator) = caller.data().allocator.clone() else { return Ok(None) };
    let address = allocator.call(&mut *caller, size)?;
    caller.data_mut().cost.allocations += 1;
    Ok(Some(address))
}

fn memory(caller: &Caller<'_, State>) -> Memory {
    caller.data().memory.expect("a virtual machine has a memory before it is called")
}

/// Reads what the module points to. Our plugins never point outside their memory: that is a trap.
fn read(caller: &Caller<'_, State>, at: u32, size: u32) -> wasmtime::Result<Vec<u8>> {
    let bytes = memory(caller).data(caller).get(at as usize..at as usize + size as usize);
    bytes.map(<[u8]>::to_vec).ok_or_else(|| wasmtime::Error::msg("a pointer outside memory"))
}

fn write(caller: &mut Caller<'_, State>, at: u32, bytes: &[u8]) -> Result<(), Status> {
    let range = at as usize..at as usize + bytes.len();
    let room = memory(caller).data_mut(caller).get_mut(range).ok_or(INVALID_MEMORY_ACCESS)?;
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
