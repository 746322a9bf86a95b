//! The client: sends a request on each of its connections, then checks the answers.

use std::mem;

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use header_gate_envoy::raw::{Connection, request};
use header_gate_envoy::{Envoy, process_memory};
use header_gate_policy::Policy;
use indexmap::IndexMap;

use crate::request::{Protocol, Request};
use crate::rule::{Expected, Outcome};

/// Connections. (Not requests on one of them: Envoy closes a connection on which a third answer has to
/// wait.)
const WIDTH: u64 = 64;
/// One in so many requests is the last of its connection.
const LIFE: u32 = 64;
/// Samples of Envoy's memory.
const SAMPLES: u64 = 300;

/// How a connection ends.
struct End {
    /// What is sent last; empty if nothing is.
    name: &'static str,
    last: fn(&Policy) -> Vec<u8>,
    /// Whether the connection is reset, or closed.
    reset: bool,
    /// What comes back if there is a gate, and if there is none; nothing to an incomplete head.
    expected: Option<[Outcome; 2]>,
}

const ENDS: [End; 6] = [
    End { name: "", last: |_| Vec::new(), reset: false, expected: None },
    End { name: "", last: |_| Vec::new(), reset: true, expected: None },
    End { name: "half a head, then the end", last: half_head, reset: false, expected: None },
    End { name: "half a head, then a reset", last: half_head, reset: true, expected: None },
    End {
        name: "half a body, then a reset",
        last: half_body,
        reset: true,
        expected: Some([Outcome::Denied, Outcome::Passed]),
    },
    End {
        name: "a null byte in a value",
        last: null_byte,
        reset: false,
        expected: Some([Outcome::Refused(400), Outcome::Refused(400)]),
    },
];

fn half_head(policy: &Policy) -> Vec<u8> {
    let whole = get(&[(policy.header.as_bytes(), policy.values[0].as_bytes())]);
    whole[..whole.len() / 2].to_vec()
}

fn half_body(_: &Policy) -> Vec<u8> {
    let whole = request("localhost", "POST", "/", &[], &[b'x'; 1000]);
    whole[..whole.len() - 500].to_vec()
}

fn null_byte(policy: &Policy) -> Vec<u8> {
    get(&[(policy.header.as_bytes(), b"\0")])
}

fn get(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    request("localhost", "GET", "/", fields, b"")
}

/// A client of a listener, and what it has sent.
pub struct Client<'a> {
    policy: &'a Policy,
    port: u16,
    /// Whether the listener has a gate.
    gate: bool,
    /// The next random request.
    index: u64,
    /// How often each kind of request was answered, by answer and kind.
    pub sent: IndexMap<(&'static str, &'static str), f64>,
    /// Connections that were closed or reset.
    pub connections: f64,
    /// Requests so far, and Envoy's resident memory in KiB.
    pub memory: Vec<(f64, f64)>,
}

impl<'a> Client<'a> {
    pub fn new(policy: &'a Policy, port: u16, gate: bool) -> Self {
        let (sent, memory) = (IndexMap::new(), Vec::new());
        Self { policy, port, gate, index: 0, sent, connections: 0.0, memory }
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
                self.check(connection, "random requests", expected)
                    .with_context(|| request.to_string())?;
            }
            for connection in &mut connections {
                if rng.u32(..LIFE) == 0 {
                    let end = &ENDS[rng.usize(..ENDS.len())];
                    self.end(mem::replace(connection, open()?), end).context(end.name)?;
                }
            }
            let before = done;
            done += batch.len() as u64;
            let passes = |step: u64| before / step != done / step;
            if passes(requests / SAMPLES) {
                let resident = process_memory(envoy.pid(), "status", "VmRSS:")?;
                self.memory.push((done as f64, resident));
            }
            if passes(requests / 10) {
                eprintln!("lab: soak, {done} of {requests}");
            }
        }
        self.connections += connections.len() as f64;
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

    /// Reads an answer, and counts it under `kind`.
    fn check(
        &mut self,
        connection: &mut Connection,
        kind: &'static str,
        expected: &Outcome,
    ) -> Result<()> {
        let seen = Outcome::of(self.policy, &connection.receive("GET")?);
        ensure!(seen == *expected, "{seen:?}, expected {expected:?}");
        let answer = match seen {
            Outcome::Passed => "passed",
            Outcome::Denied => "denied",
            _ => "refused by Envoy",
        };
        *self.sent.entry((answer, kind)).or_default() += 1.0;
        Ok(())
    }

    fn end(&mut self, mut connection: Connection, end: &End) -> Result<()> {
        connection.write(&(end.last)(self.policy))?;
        match &end.expected {
            Some(expected) => {
                self.check(&mut connection, end.name, &expected[usize::from(!self.gate)])?;
            }
            None if end.name.is_empty() => {}
            None => *self.sent.entry(("none", end.name)).or_default() += 1.0,
        }
        self.connections += 1.0;
        if end.reset { connection.reset() } else { Ok(()) }
    }
}
