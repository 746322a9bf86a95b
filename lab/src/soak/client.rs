//! The client: sends a request on each of its connections, then checks the answers.

use std::mem;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use header_gate_envoy::raw::{Connection, request};
use header_gate_envoy::{Envoy, process_memory};
use header_gate_policy::Policy;

use crate::request::{Protocol, Request};
use crate::rule::{Expected, Outcome};

/// Connections. (Not requests on one of them: Envoy closes a connection on which a third answer has to
/// wait.)
const WIDTH: u64 = 64;
/// One in so many requests is the last of its connection.
const LIFE: u32 = 64;
/// Samples of Envoy's memory.
const SAMPLES: u64 = 300;
/// The warm-up is the first third, and at least so many requests.
const WARM_UP: u64 = 100_000;

/// What is sent last on a connection.
#[derive(Clone, Copy, Debug)]
enum Last {
    Nothing,
    /// Nothing comes back.
    HalfHead,
    HalfBody,
    /// A null byte in a value, which Envoy refuses.
    NullByte,
}

/// How connections end, and whether by a reset.
const ENDS: [(Last, bool); 6] = [
    (Last::Nothing, false),
    (Last::Nothing, true),
    (Last::HalfHead, false),
    (Last::HalfHead, true),
    (Last::HalfBody, true),
    (Last::NullByte, false),
];

fn get(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    request("localhost", "GET", "/", fields, b"")
}

/// A client of a listener, and what it has counted.
pub struct Client<'a> {
    policy: &'a Policy,
    port: u16,
    /// Whether the listener has a gate.
    gate: bool,
    /// The next random request.
    index: u64,
    pub counts: Counts,
}

#[derive(Default)]
pub struct Counts {
    /// Requests that passed, those that were denied or refused, and those that were cut off in the head.
    pub passed: f64,
    pub refused: f64,
    /// Those of them that the gate denied.
    pub denied: f64,
    pub incomplete: f64,
    /// Connections that were closed or reset.
    pub connections: f64,
    /// Envoy's largest resident memory in KiB: during the warm-up, and after it.
    pub memory: [f64; 2],
}

impl<'a> Client<'a> {
    pub fn new(policy: &'a Policy, port: u16, gate: bool) -> Self {
        Self { policy, port, gate, index: 0, counts: Counts::default() }
    }

    /// Sends so many requests, and what ends some of the connections; an error is the first wrong
    /// answer.
    pub fn run(&mut self, envoy: &Envoy, requests: u64) -> Result<()> {
        let mut rng = Rng::with_seed(1);
        let port = self.port;
        let open = || Connection::open(port);
        let mut connections = (0..WIDTH).map(|_| open()).collect::<Result<Vec<_>>>()?;
        let mut done = 0;
        while done < requests {
            let batch: Vec<_> = (0..WIDTH.min(requests - done)).map(|_| self.next()).collect();
            for (connection, (request, _)) in connections.iter_mut().zip(&batch) {
                let sent = connection.write(&get(&request.slices()));
                sent.with_context(|| request.to_string())?;
            }
            for (connection, (request, expected)) in connections.iter_mut().zip(&batch) {
                self.check(connection, expected).with_context(|| request.to_string())?;
            }
            for connection in &mut connections {
                if rng.u32(..LIFE) == 0 {
                    let (last, reset) = ENDS[rng.usize(..ENDS.len())];
                    let connection = mem::replace(connection, open()?);
                    self.end(connection, last, reset).with_context(|| format!("{last:?}"))?;
                }
            }
            let before = done;
            done += batch.len() as u64;
            let passes = |step: u64| before / step != done / step;
            if passes(requests / SAMPLES) {
                let resident = process_memory(envoy.pid(), "status", "VmRSS:")?;
                let most = &mut self.counts.memory[usize::from(done > WARM_UP.max(requests / 3))];
                *most = most.max(resident);
            }
            if passes(requests / 10) {
                eprintln!("lab: soak, {done} of {requests}");
            }
        }
        self.counts.connections += connections.len() as f64;
        Ok(())
    }

    /// The next random request that Envoy does not refuse, and what is expected.
    fn next(&mut self) -> (Request, Outcome) {
        loop {
            let mut request = Request::random(self.policy, 0, self.index);
            self.index += 1;
            request.protocol = Protocol::Http1;
            let Expected { route, gate, .. } = Expected::of(self.policy, &request);
            if route == Outcome::Passed {
                return (request, if self.gate { gate } else { route });
            }
        }
    }

    /// Reads an answer, and counts it.
    fn check(&mut self, connection: &mut Connection, expected: &Outcome) -> Result<()> {
        let seen = Outcome::of(self.policy, &connection.receive("GET")?);
        ensure!(seen == *expected, "{seen:?}, expected {expected:?}");
        *if seen == Outcome::Passed {
            &mut self.counts.passed
        } else {
            &mut self.counts.refused
        } += 1.0;
        self.counts.denied += f64::from(u8::from(seen == Outcome::Denied));
        Ok(())
    }

    fn end(&mut self, mut connection: Connection, last: Last, reset: bool) -> Result<()> {
        let header = self.policy.header.as_bytes();
        match last {
            Last::Nothing => {}
            Last::HalfHead => {
                let whole = get(&[(header, self.policy.accepted()[0].as_bytes())]);
                connection.write(&whole[..whole.len() / 2])?;
                self.counts.incomplete += 1.0;
            }
            Last::HalfBody => {
                let whole = request("localhost", "POST", "/", &[], &[b'x'; 1000]);
                connection.write(&whole[..whole.len() - 500])?;
                let expected = if self.gate { Outcome::Denied } else { Outcome::Passed };
                self.check(&mut connection, &expected)?;
            }
            Last::NullByte => {
                connection.write(&get(&[(header, b"\0")]))?;
                self.check(&mut connection, &Outcome::Refused(400))?;
            }
        }
        self.counts.connections += 1.0;
        if reset { connection.reset() } else { Ok(()) }
    }
}
