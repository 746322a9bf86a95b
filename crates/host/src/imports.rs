//! The host's side of the ABI: the functions that a module imports.

use anyhow::{Context as _, Result, bail};

use crate::guest::{Guest, Headers, LocalResponse};
use crate::reply::{
    BAD_ARGUMENT, INVALID_MEMORY_ACCESS, NOT_FOUND, OK, Place, Reply, Status, Step,
};

/// The functions that modules may import from `env`, and what they take: numbers of 32 bits (`i`) and 64 (`I`).
pub const FUNCTIONS: [(&str, &str); 9] = [
    (GET, "iiiii"),
    (SEND, "iiiiiiii"),
    (LOG, "iii"),
    (REMOVE, "iii"),
    (REPLACE, "iiiii"),
    (DEFINE, "iiii"),
    (INCREMENT, "iI"),
    (BUFFER, "iiiii"),
    (CONTEXT, "i"),
];
const GET: &str = "proxy_get_header_map_value";
const SEND: &str = "proxy_send_local_response";
const LOG: &str = "proxy_log";
const REMOVE: &str = "proxy_remove_header_map_value";
const REPLACE: &str = "proxy_replace_header_map_value";
const DEFINE: &str = "proxy_define_metric";
const INCREMENT: &str = "proxy_increment_metric";
const BUFFER: &str = "proxy_get_buffer_bytes";
const CONTEXT: &str = "proxy_set_effective_context";

/// `BufferType::PluginConfiguration`.
const PLUGIN_CONFIGURATION: u32 = 7;

/// The number of the first metric; others follow in steps, as in Envoy.
const FIRST_METRIC: u32 = 4;
const METRIC_STEP: u32 = 4;

/// Carries out the module's call of the function `name`.
pub fn call(name: &str, guest: &mut dyn Guest, args: &[u64]) -> Result<Status> {
    guest.state().cost.host_calls += 1;
    if let (INCREMENT, &[metric, offset]) = (name, args) {
        return increment(guest, metric as u32, offset);
    }
    let args: Vec<u32> = args.iter().map(|&arg| arg as u32).collect();
    match (name, &args[..]) {
        (GET, &[map, key, key_size, data, size]) => {
            let key = read(guest, key, key_size)?;
            let state = guest.state();
            let reply = state.replies.get(&key).unwrap_or(&state.reply).clone();
            state.asked.push((map, key));
            deliver(guest, reply, data, size)
        }
        (SEND, &[..]) => send(guest, &args),
        (LOG, &[_level, message, size]) => {
            let line = String::from_utf8_lossy(&read(guest, message, size)?).into_owned();
            guest.state().log.push(line);
            answer(guest)
        }
        (REMOVE, &[map, key, key_size]) => {
            let key = read(guest, key, key_size)?;
            let status = answer(guest)?;
            if status == OK {
                guest.state().removed.push((map, key));
            }
            Ok(status)
        }
        (REPLACE, &[map, key, key_size, value, value_size]) => {
            let key = read(guest, key, key_size)?;
            let value = read(guest, value, value_size)?;
            let status = answer(guest)?;
            if status == OK {
                guest.state().replaced.push((map, key, value));
            }
            Ok(status)
        }
        (BUFFER, &[buffer, start, length, data, size]) => {
            let part = (buffer, start as usize, length as usize);
            configuration(guest, part, data, size)
        }
        (CONTEXT, &[context]) => {
            let lives = guest.state().roots.contains(&context);
            Ok(if lives { OK } else { BAD_ARGUMENT })
        }
        (DEFINE, &[_kind, metric, metric_size, id]) => {
            let metric = String::from_utf8_lossy(&read(guest, metric, metric_size)?).into_owned();
            define(guest, metric, id)
        }
        _ => bail!("{name} has {} arguments", args.len()),
    }
}

/// Hands a part of the plugin's configuration over: the buffer, where the part begins, and its size.
fn configuration(
    guest: &mut dyn Guest,
    (buffer, start, length): (u32, usize, usize),
    data: u32,
    size: u32,
) -> Result<Status> {
    let state = guest.state();
    let rest = state.configuration.get(start..).filter(|_| buffer == PLUGIN_CONFIGURATION);
    let part = rest.map(|rest| &rest[..length.min(rest.len())]);
    let reply = state.delivery.take().unwrap_or_else(|| Reply::honest(part));
    deliver(guest, reply, data, size)
}

/// Takes a local response.
fn send(guest: &mut dyn Guest, args: &[u32]) -> Result<Status> {
    let &[status, details, details_size, body, body_size, headers, headers_size, grpc] = args
    else {
        bail!("{SEND} has {} arguments", args.len());
    };
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

/// Defines a metric, and writes its number to `id`.
fn define(guest: &mut dyn Guest, metric: String, id: u32) -> Result<Status> {
    let status = answer(guest)?;
    if status != OK {
        return Ok(status);
    }
    let metrics = &mut guest.state().metrics;
    let number = FIRST_METRIC + METRIC_STEP * metrics.len() as u32;
    metrics.push((metric, 0));
    Ok(write(guest, id, &number.to_le_bytes()).err().unwrap_or(OK))
}

fn increment(guest: &mut dyn Guest, metric: u32, offset: u64) -> Result<Status> {
    let status = answer(guest)?;
    let place = metric.wrapping_sub(FIRST_METRIC);
    let metric = guest.state().metrics.get_mut((place / METRIC_STEP) as usize);
    Ok(match metric {
        Some((_, count)) if place.is_multiple_of(METRIC_STEP) => {
            *count += if status == OK { offset } else { 0 };
            status
        }
        _ => NOT_FOUND,
    })
}

/// Carries out the steps of the reply.
fn deliver(guest: &mut dyn Guest, reply: Reply, data: u32, size: u32) -> Result<Status> {
    let Reply { steps, mut status, .. } = reply;
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
            Step::Call(name, args) => {
                let result = guest.call(name, &args)?;
                guest.state().called.push(result);
                Ok(())
            }
            Step::Size(value_size) => write(guest, size, &value_size.to_le_bytes()),
        };
        if let Err(outside) = done {
            status = outside;
            break;
        }
    }
    Ok(status)
}

/// What the host does while the module calls anything but the question for a header.
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
