//! What a listener makes of a request.

use std::fmt;
use std::ops::Range;

use anyhow::{Context, Result, bail};
use header_gate_policy::Policy;

use super::request::{Protocol, Request};
use header_gate_envoy::config::is_upstream;
use header_gate_envoy::denial::difference;
use header_gate_envoy::http1::{self, Response};
use header_gate_envoy::http2;

/// Requests over HTTP/2 that are under way at once.
const AT_ONCE: usize = 64;

/// What a listener made of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The route answered.
    Passed,
    /// The filter answered, byte for byte as it has to.
    Denied,
    /// Envoy refused the request before any filter saw it, with this status.
    Refused(u16),
    /// Envoy reset the stream, or closed the connection, without an answer.
    Closed,
    /// Something else.
    Odd(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Denied => f.write_str("denied"),
            Self::Refused(status) => write!(f, "refused by Envoy with {status}"),
            Self::Closed => f.write_str("closed by Envoy without an answer"),
            Self::Odd(what) => f.write_str(what),
        }
    }
}

/// What a listener's denial looks like.
pub type IsDenial = fn(&Policy, &Response) -> bool;

/// The policy's answer, and nothing beside it but what Envoy adds to every answer.
pub fn is_policys(policy: &Policy, response: &Response) -> bool {
    let added = ["content-length", "date", "server"];
    let of_policy =
        |name: &str| policy.deny.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let size = policy.deny.body.len().to_string();
    difference(policy, response).is_none()
        && response.has("content-length", size.as_bytes())
        && response.headers.len() == policy.deny.headers.len() + added.len()
        && response.headers.iter().all(|(name, _)| {
            of_policy(name) || added.iter().any(|own| own.eq_ignore_ascii_case(name))
        })
}

/// The answer of Envoy's RBAC filter.
pub fn is_rbacs(_: &Policy, response: &Response) -> bool {
    response.status == 403 && response.body == b"RBAC: access denied"
}

fn outcome(policy: &Policy, response: &Response, is_denial: IsDenial) -> Outcome {
    match response.status {
        _ if is_upstream(response) => Outcome::Passed,
        _ if is_denial(policy, response) => Outcome::Denied,
        status @ (400 | 431) => Outcome::Refused(status),
        _ => Outcome::Odd(format!("answered with {response:?}")),
    }
}

/// A listener, and the connections to it.
pub struct Asker<'a> {
    port: u16,
    policy: &'a Policy,
    is_denial: IsDenial,
    http1: http1::Connection,
    http2: http2::Connection,
}

impl<'a> Asker<'a> {
    pub fn new(port: u16, policy: &'a Policy, is_denial: IsDenial) -> Result<Self> {
        let (http1, http2) = (http1::Connection::open(port)?, http2::Connection::open(port)?);
        Ok(Self { port, policy, is_denial, http1, http2 })
    }

    /// What the listener makes of each of the requests.
    pub fn ask_all(&mut self, seed: u64, range: Range<u64>) -> Result<Vec<Outcome>> {
        let mut outcomes = vec![None; (range.end - range.start) as usize];
        let mut waiting = Vec::new();
        for (place, index) in range.enumerate() {
            let request = Request::random(self.policy, seed, index);
            match request.protocol {
                Protocol::Http1 => outcomes[place] = Some(self.over_http1(&request)?),
                Protocol::Http2 => waiting.push((place, request)),
            }
            if waiting.len() == AT_ONCE {
                self.over_http2(&mut waiting, &mut outcomes)?;
            }
        }
        self.over_http2(&mut waiting, &mut outcomes)?;
        outcomes.into_iter().map(|outcome| outcome.context("a request was left out")).collect()
    }

    fn outcome(&self, response: &Response) -> Outcome {
        outcome(self.policy, response, self.is_denial)
    }

    fn over_http1(&mut self, request: &Request) -> Result<Outcome> {
        for _ in 0..2 {
            match self.http1.send("GET", "/", &request.slices(), b"") {
                Ok(response) => return Ok(self.outcome(&response)),
                Err(error) if error.is::<http1::Closed>() => {
                    // It may have been closed for a reason of its own: ask on a new one.
                    self.http1 = http1::Connection::open(self.port)?;
                }
                Err(error) => return Err(error).with_context(|| request.to_string()),
            }
        }
        Ok(Outcome::Closed)
    }

    fn over_http2(
        &mut self,
        waiting: &mut Vec<(usize, Request)>,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<()> {
        match self.http2.send_all(waiting.iter().map(|(_, request)| request.slices())) {
            Ok(responses) => {
                for ((place, _), response) in waiting.drain(..).zip(&responses) {
                    outcomes[place] = Some(self.outcome(response));
                }
            }
            // One of them has cost all of them the connection: each gets one of its own.
            Err(_) => {
                for (place, request) in waiting.drain(..) {
                    let connection = http2::Connection::open(self.port)?;
                    outcomes[place] =
                        Some(match connection.send("GET", "/", &request.slices(), b"") {
                            Ok(response) => self.outcome(&response),
                            Err(error) if error.is::<h2::Error>() => Outcome::Closed,
                            Err(error) => bail!("{error:#}: {request}"),
                        });
                }
                self.http2 = http2::Connection::open(self.port)?;
            }
        }
        Ok(())
    }
}
