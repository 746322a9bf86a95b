//! One of the clients: a request on each of some connections, then the answers, each of them looked at.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use header_gate_policy::Policy;

use super::mix::{self, End, KINDS};
use header_gate_envoy::config::is_upstream;
use header_gate_envoy::denial::difference;
use header_gate_envoy::http1::{Connection, Response, request};
use header_gate_envoy::process_memory;

/// Connections of a client. (Not requests on one of them: Envoy ends a connection on which a third
/// answer has to wait.)
const WIDTH: usize = 16;
/// One in so many requests is the last of its connection.
const LIFE: u32 = 64;
/// Bytes of a request's body that are promised, and those that are sent.
const BODY: &[u8] = &[b'x'; 1000];
const HALF: usize = 500;

/// What comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The upstream's answer.
    Passed,
    /// The policy's.
    Denied,
    /// Envoy's own, to what is no request.
    Refused,
    /// None, as the request is not whole.
    None,
}

impl Answer {
    /// Their names, in the data and in the table.
    pub const NAMES: [&str; 4] = ["passed", "denied", "refused by Envoy", "without an answer"];
}

/// How much of each kind and of each end was sent and answered as it should be.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    pub kinds: [u64; KINDS.len()],
    pub ends: [u64; End::ALL.len()],
}

/// A point of the plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Requests that were answered before it.
    pub requests: u64,
    /// Envoy's resident memory in KiB.
    pub resident: f64,
}

/// What all clients share.
pub struct Clients<'a> {
    pub port: u16,
    pub pid: u32,
    pub policy: &'a Policy,
    /// Whether there is a gate; without one, every request that Envoy takes passes.
    pub denies: bool,
    /// How many requests all of them send.
    pub requests: u64,
    /// Requests between two samples.
    pub step: u64,
    /// Requests between two lines that tell how far it is.
    pub line: u64,
    pub progress: Mutex<Progress>,
    /// Whether one of them has failed.
    pub failed: AtomicBool,
}

/// How far all clients are.
#[derive(Debug, Default)]
pub struct Progress {
    pub requests: u64,
    pub samples: Vec<Sample>,
}

impl Clients<'_> {
    /// Sends `requests` requests, and what ends some of the connections beside them; stops early only
    /// if another client fails.
    pub fn run(&self, seed: u64, requests: u64) -> Result<Sent> {
        let sent = self.connections(&mut Rng::with_seed(seed), requests);
        if sent.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn connections(&self, rng: &mut Rng, requests: u64) -> Result<Sent> {
        let huge = mix::huge(self.policy);
        let open = || Connection::open(self.port);
        let mut connections = (0..WIDTH).map(|_| open()).collect::<Result<Vec<_>>>()?;
        let (mut sent, mut left) = (Sent::default(), requests);
        while left > 0 && !self.failed.load(Ordering::Relaxed) {
            let width = WIDTH.min(usize::try_from(left).unwrap_or(WIDTH));
            self.round(rng, &huge, &mut connections[..width], &mut sent)?;
            left -= width as u64;
            self.count(width as u64)?;
            for connection in &mut connections {
                if rng.u32(..LIFE) == 0 {
                    let end = rng.usize(..End::ALL.len());
                    self.end(mem::replace(connection, open()?), End::ALL[end])?;
                    sent.ends[end] += 1;
                }
            }
        }
        sent.ends[End::Closed as usize] += connections.len() as u64;
        Ok(sent)
    }

    /// Sends a request on each connection, and holds each answer to what its request deserves.
    fn round(
        &self,
        rng: &mut Rng,
        huge: &[u8],
        connections: &mut [Connection],
        sent: &mut Sent,
    ) -> Result<()> {
        let mut kinds = [0; WIDTH];
        for (connection, drawn) in connections.iter_mut().zip(&mut kinds) {
            *drawn = mix::any(rng);
            let kind = &KINDS[*drawn];
            let strange: Vec<u8> = (0..rng.usize(1..=8)).map(|_| rng.u8(0x80..)).collect();
            let request = get(&(kind.fields)(self.policy, &strange, huge));
            connection.write(&request).context(kind.name)?;
        }
        for (connection, drawn) in connections.iter_mut().zip(kinds) {
            let kind = &KINDS[drawn];
            let response = connection.receive("GET").context(kind.name)?;
            self.check(kind.answer, &response).context(kind.name)?;
            sent.kinds[drawn] += 1;
        }
        Ok(())
    }

    fn end(&self, mut connection: Connection, end: End) -> Result<()> {
        let about = || format!("{end:?}");
        let whole = match end {
            End::Closed | End::Reset => Vec::new(),
            End::HalfClosed | End::HalfReset => get(&[mix::accepted(self.policy)]),
            End::BodyReset => request("localhost", "POST", "/", &[], BODY),
            End::Refused => get(&[(self.policy.header.as_bytes(), b"\0")]),
        };
        let part = match end {
            End::HalfClosed | End::HalfReset => whole.len() / 2,
            End::BodyReset => whole.len() - HALF,
            _ => whole.len(),
        };
        connection.write(&whole[..part]).with_context(about)?;
        if end.answer() != Answer::None {
            let response = connection.receive("POST").with_context(about)?;
            self.check(end.answer(), &response).with_context(about)?;
        }
        match end {
            End::Reset | End::HalfReset | End::BodyReset => connection.reset(),
            End::Closed | End::HalfClosed | End::Refused => Ok(()),
        }
    }

    fn check(&self, expected: Answer, response: &Response) -> Result<()> {
        let denied = expected == Answer::Denied;
        let expected = if denied && !self.denies { Answer::Passed } else { expected };
        let wrong = match expected {
            Answer::Denied => difference(self.policy, response),
            Answer::Passed if is_upstream(response) => None,
            Answer::Refused if response.status == 400 => None,
            _ => Some(response.status.to_string()),
        };
        match wrong {
            Some(answer) => bail!("not {expected:?}, but answered with {answer}"),
            None => Ok(()),
        }
    }

    /// Counts requests, and looks at Envoy's memory whenever as many as between two samples are over.
    fn count(&self, requests: u64) -> Result<()> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, after) = (progress.requests, progress.requests + requests);
        progress.requests = after;
        if before / self.step != after / self.step {
            let sample =
                Sample { requests: after, resident: process_memory(self.pid, "status", "VmRSS:")? };
            progress.samples.push(sample);
        }
        if before / self.line != after / self.line {
            eprintln!("gate: soak, {after} of {}", self.requests);
        }
        Ok(())
    }
}

fn get(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    request("localhost", "GET", "/", fields, b"")
}
