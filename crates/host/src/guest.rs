//! A virtual machine as the host sees it: what it can do with it, and what it keeps for it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use header_gate_policy::Policy;

use crate::Cost;
use crate::reply::Reply;

/// A virtual machine, from outside or while it calls the host.
pub trait Guest {
    /// Whether a function of this name is exported.
    fn exports(&mut self, name: &str) -> bool;
    /// Calls an exported function of numbers. Returns its result, 0 if it has none, and `None` if there
    /// is no such export.
    fn call(&mut self, name: &str, args: &[u32]) -> Result<Option<u32>>;
    /// The exported memory.
    fn memory(&mut self) -> &mut [u8];
    /// The fuel that is left; 0 if the engine does not count it.
    fn fuel(&self) -> u64;
    /// The host's state.
    fn state(&mut self) -> &mut State;
}

/// The host's state for one virtual machine.
#[derive(Default)]
pub struct State {
    /// The answers to questions for some headers, and to all others.
    pub replies: BTreeMap<Vec<u8>, Reply>,
    pub reply: Reply,
    pub asked: Vec<Asked>,
    pub removed: Vec<Asked>,
    pub replaced: Vec<Replaced>,
    /// The configuration of the plugin, and another answer to the question for it.
    pub configuration: Vec<u8>,
    pub delivery: Option<Reply>,
    /// The results of callbacks that the host called from inside another one.
    pub called: Vec<Option<u32>>,
    /// The root contexts that live.
    pub roots: BTreeSet<u32>,
    /// Names of metrics, and what was added to them.
    pub metrics: Vec<(String, u64)>,
    pub response: Option<LocalResponse>,
    pub log: Vec<String>,
    pub cost: Cost,
}

/// A module's question for a header: the map (0 holds the request's headers) and the name.
pub type Asked = (u32, Vec<u8>);

/// A header that a module wrote: the map, the name and the value.
pub type Replaced = (u32, Vec<u8>, Vec<u8>);

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
    /// The denial that `policy` describes, of a request whose header has this value.
    #[must_use]
    pub fn of(policy: &Policy, value: Option<&[u8]>) -> Self {
        let deny = policy.deny.clone();
        let missing = value.is_none_or(<[u8]>::is_empty);
        let details = deny.missing_details.filter(|_| missing).unwrap_or(deny.details);
        Self {
            status: deny.status.into(),
            details: details.into(),
            headers: deny.headers.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            body: deny.body.into(),
            grpc_status: deny.grpc_status.map_or(-1, i32::from),
        }
    }
}
