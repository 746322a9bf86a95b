//! Policies in which each pair of options occurs, and what a gate with one of them does with requests.

use std::collections::BTreeSet;

/// What a gate does with a request, by the name of the counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Passed with an accepted value.
    Allowed,
    /// Passed by `except`.
    Exempt,
    /// Denied.
    Denied,
    /// Passed in a dry run.
    ShadowDenied,
}

impl Decision {
    /// The counter's name, without its prefix.
    #[must_use]
    pub fn counter(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Exempt => "exempt",
            Self::Denied => "denied",
            Self::ShadowDenied => "shadow_denied",
        }
    }
}

/// A request, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its method.
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// Its header fields.
    pub headers: &'static [(&'static str, &'static str)],
    /// What the gate does.
    pub decision: Decision,
}

/// A policy, and requests to a gate with it.
#[derive(Clone, Debug)]
pub struct Combination {
    /// The policy file.
    pub policy: String,
    /// Requests, and what becomes of each.
    pub cases: Vec<Case>,
}

impl Case {
    /// The value of a field.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'static str> {
        self.headers.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
    }
}

/// The header of the policies, its accepted value, and whose that is.
pub const HEADER: &str = "x-api-key";
/// The header that names the client, if a policy has one.
pub const CLIENT_HEADER: &str = "x-client-id";
/// The client that the accepted value belongs to.
pub const CLIENT: &str = "friend";
const VALUE: &str = "correct-key";
/// SHA-256 of [`VALUE`].
const DIGEST: &str = "ddb0fd2dede48502669718e09ef1447dba46f3d3822e9fbf05af11d874a0f23b";

/// The options: lines of a policy for each level, above its tables, in `[except]`, in `[deny]`.
const RULES: [&str; 3] = ["values", "client", "digest"];
const FLAGS: [&str; 4] =
    ["client_header = \"x-client-id\"\n", "remove = true\n", "count = true\n", "enforce = false\n"];
const EXCEPTS: [&str; 3] = [
    "",
    "[except]\npaths = [\"/open\", \"/files/*\"]\n",
    "[except]\npreflight = true\nmethods = [\"DELETE\"]\n",
];
const DETAILS: [&str; 3] =
    ["", "details = \"wrong\"\n", "details = \"wrong\"\nmissing_details = \"missing\"\n"];
const GRPC: [&str; 2] = ["", "grpc_status = 16\n"];

/// The levels of all options, in the order above.
type Levels = [usize; 8];

/// Requests, and by which level of `EXCEPTS` each is exempt.
type Asked = (&'static str, &'static str, &'static [(&'static str, &'static str)], usize);
const NEVER: usize = usize::MAX;
const REQUESTS: [Asked; 10] = [
    ("GET", "/", &[(HEADER, VALUE)], NEVER),
    ("GET", "/open", &[(HEADER, VALUE), (CLIENT_HEADER, "forged")], NEVER),
    ("GET", "/", &[(CLIENT_HEADER, "forged")], NEVER),
    ("GET", "/", &[(HEADER, "")], NEVER),
    ("GET", "/files/../x", &[(HEADER, "another-key")], NEVER),
    ("POST", "/", &[(HEADER, "correct-keys")], NEVER),
    ("GET", "/open?x", &[(CLIENT_HEADER, "forged")], 1),
    ("GET", "/files/a", &[(HEADER, "wrong")], 1),
    ("DELETE", "/", &[(HEADER, "another-key")], 2),
    ("OPTIONS", "/", &[("origin", "https://a"), ("access-control-request-method", "GET")], 2),
];

/// Policies in which each pair of levels of two options occurs.
#[must_use]
pub fn pairwise() -> Vec<Combination> {
    let mut chosen: Vec<Levels> = Vec::new();
    let mut covered = BTreeSet::new();
    let all = all();
    loop {
        let new = |levels: &Levels| pairs(levels).difference(&covered).count();
        let Some(best) = all.iter().rev().max_by_key(|levels| new(levels)).filter(|l| new(l) > 0)
        else {
            return chosen.iter().map(combination).collect();
        };
        covered.extend(pairs(best));
        chosen.push(*best);
    }
}

/// Every combination that a policy may have: a name needs clients.
fn all() -> Vec<Levels> {
    let sizes = [RULES.len(), 2, 2, 2, 2, EXCEPTS.len(), DETAILS.len(), GRPC.len()];
    let number = sizes.iter().product();
    let levels = |mut number: usize| {
        sizes.map(|size| {
            let level = number % size;
            number /= size;
            level
        })
    };
    (0..number).map(levels).filter(|levels| levels[0] > 0 || levels[1] == 0).collect()
}

/// The pairs of levels: both options, both levels.
fn pairs(levels: &Levels) -> BTreeSet<[usize; 4]> {
    let pair = |b: usize| (0..b).map(move |a| [a, b, levels[a], levels[b]]);
    (1..levels.len()).flat_map(pair).collect()
}

fn combination(levels: &Levels) -> Combination {
    let [rule, flags @ .., except, details, grpc] = *levels;
    let mut policy = format!("header = \"{HEADER}\"\n");
    if rule == 0 {
        policy += &format!("values = [\"{VALUE}\", \"another\"]\n");
    }
    for (flag, text) in flags.iter().zip(FLAGS) {
        policy += if *flag == 1 { text } else { "" };
    }
    if rule > 0 {
        let known = if rule == 1 { ("value", VALUE) } else { ("sha256", DIGEST) };
        policy += &format!("[[client]]\nid = \"{CLIENT}\"\n{} = \"{}\"\n", known.0, known.1);
        policy += "[[client]]\nid = \"other\"\nvalue = \"another\"\n";
    }
    policy += EXCEPTS[except];
    policy +=
        "[deny]\nstatus = 401\nheaders = [[\"www-authenticate\", \"ApiKey\"]]\nbody = \"no\\n\"\n";
    policy += &format!("{}{}", DETAILS[details], GRPC[grpc]);
    let enforce = flags[3] == 0;
    let case = |&(method, path, headers, exempt): &Asked| {
        let accepted = headers.contains(&(HEADER, VALUE));
        let decision = match (accepted, exempt == except, enforce) {
            (true, _, _) => Decision::Allowed,
            (_, true, _) => Decision::Exempt,
            (_, _, true) => Decision::Denied,
            _ => Decision::ShadowDenied,
        };
        Case { method, path, headers, decision }
    };
    Combination { policy, cases: REQUESTS.iter().map(case).collect() }
}
