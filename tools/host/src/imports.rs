//! The host's side of the ABI: the functions that a module imports.

use anyhow::Result;
use wasmtime::{Caller, Linker, Memory, Module};

use crate::reply::{INVALID_MEMORY_ACCESS, OK, Place, Reply, Status};
use crate::{Allocator, Cost};

/// What the host knows of one virtual machine.
#[derive(Default)]
pub struct State {
    pub memory: Option<Memory>,
    pub allocator: Option<Allocator>,
    pub reply: Reply,
    pub response: Option<LocalResponse>,
    pub log: Vec<String>,
    pub cost: Cost,
}

/// What a module asked `proxy_send_local_response` to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u32,
    /// For the access log.
    pub details: Vec<u8>,
    /// Names and values, from the serialized form.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// -1 for none.
    pub grpc_status: i32,
}

/// A range outside memory is the status that a host returns for it.
type Access<T> = Result<T, Status>;

/// Defines what modules import; calling any other import traps.
pub fn define(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_header_map_value",
        |mut caller: Caller<'_, State>,
         _map: u32,
         key: u32,
         key_size: u32,
         data: u32,
         size: u32| {
            caller.data_mut().cost.host_calls += 1;
            read(&caller, key, key_size)?;
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
            let status = caller.data().reply.other_status;
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
            wasmtime::Result::Ok(caller.data().reply.other_status)
        },
    )?;
    linker.define_unknown_imports_as_traps(module)?;
    Ok(())
}

/// Carries the reply out: allocations, writes, the two results, the status.
fn deliver(caller: &mut Caller<'_, State>, data: u32, size: u32) -> wasmtime::Result<Status> {
    let reply = std::mem::take(&mut caller.data_mut().reply);
    let mut allocated = Vec::with_capacity(reply.allocate.len());
    if let Some(allocator) = caller.data().allocator.clone() {
        for &size in &reply.allocate {
            allocated.push(allocator.call(&mut *caller, size)?);
            caller.data_mut().cost.allocations += 1;
        }
    }
    let address = |place| match place {
        Place::Allocated(n) => allocated.get(n).copied().unwrap_or_default(),
        Place::At(address) => address,
    };
    let mut writes: Vec<(u32, Vec<u8>)> =
        reply.write.iter().map(|(place, bytes)| (address(*place), bytes.clone())).collect();
    if let Some(place) = reply.data {
        writes.push((data, address(place).to_le_bytes().to_vec()));
    }
    if let Some(value_size) = reply.size {
        writes.push((size, value_size.to_le_bytes().to_vec()));
    }
    let done = writes.iter().try_for_each(|(address, bytes)| write(caller, *address, bytes));
    let status = done.err().unwrap_or(reply.status);
    caller.data_mut().reply = reply;
    Ok(status)
}

fn memory(caller: &Caller<'_, State>) -> Memory {
    caller.data().memory.expect("a virtual machine has a memory before it is called")
}

/// What the module points to. No plugin of ours may point outside its memory, so that is a trap.
fn read(caller: &Caller<'_, State>, at: u32, size: u32) -> wasmtime::Result<Vec<u8>> {
    let bytes = memory(caller).data(caller).get(at as usize..at as usize + size as usize);
    bytes.map(<[u8]>::to_vec).ok_or_else(|| wasmtime::Error::msg("a pointer outside memory"))
}

fn write(caller: &mut Caller<'_, State>, at: u32, bytes: &[u8]) -> Access<()> {
    let range = at as usize..at as usize + bytes.len();
    let room = memory(caller).data_mut(caller).get_mut(range).ok_or(INVALID_MEMORY_ACCESS)?;
    room.copy_from_slice(bytes);
    Ok(())
}

/// Header pairs out of their serialized form; `None` if it is not exactly that form.
fn pairs(form: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
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
