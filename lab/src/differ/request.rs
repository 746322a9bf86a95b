//! Random header blocks, from a grammar around the policy's header and values.

use std::fmt;

use fastrand::Rng;
use header_gate_policy::Policy;

/// The longest value, which leaves room for the rest below the limit of the listeners.
const LONGEST: usize = 60_000;
/// What HTTP strips around a value.
const BLANKS: [u8; 2] = *b" \t";

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// 1.1, whose fields are sent as they are.
    Http1,
    /// 2, which the client only speaks with names in small letters and without control bytes.
    Http2,
}

/// A GET with these fields, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it is sent.
    pub protocol: Protocol,
    /// Names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// The request number `index` of those that `seed` stands for.
    pub fn random(policy: &Policy, seed: u64, index: u64) -> Self {
        // One step of splitmix64 apart, so that no two runs share their requests.
        let mut rng = Rng::with_seed(seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let header = policy.header.as_bytes();
        let mut fields = Vec::new();
        let own = [0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 3, 4];
        for _ in 0..*pick(&mut rng, &own) {
            fields.push((cased(&mut rng, header), value(&mut rng, policy)));
        }
        for _ in 0..rng.usize(..3) {
            fields.push((near(&mut rng, header), value(&mut rng, policy)));
        }
        for _ in 0..rng.usize(..4) {
            fields.push((other(&mut rng), value(&mut rng, policy)));
        }
        if one_in(&mut rng, 100) {
            // Well below Envoy's limit or beyond it: over HTTP/2 Envoy first joins some repeated headers,
            // such as content-type, and then counts.
            let many = if rng.bool() { rng.usize(..=60) } else { rng.usize(120..=200) };
            fields.extend((0..many).map(|i| (format!("x-{i}").into_bytes(), b"1".to_vec())));
        } else if one_in(&mut rng, 100) {
            // Not among very many: which of two refusals comes first is Envoy's affair.
            let name =
                [header, pick(&mut rng, &[" ", "\t", "\0", "\u{7f}", "(", "\u{e9}"]).as_bytes()];
            fields.push((name.concat(), value(&mut rng, policy)));
        }
        rng.shuffle(&mut fields);
        let mut request = Self { protocol: Protocol::Http1, fields };
        if rng.bool()
            && !request.has(|byte| is_control(byte) && byte != b'\t')
            && request.has_names()
        {
            request.protocol = Protocol::Http2;
            request.fields.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
        }
        request
    }

    /// The values of the field `name`, as they are sent.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let own = self.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes()));
        own.map(|(_, value)| value.as_slice())
    }

    /// Whether a value holds such a byte.
    pub fn has(&self, byte: fn(u8) -> bool) -> bool {
        self.fields.iter().any(|(_, value)| value.iter().any(|&b| byte(b)))
    }

    /// Whether every name is one that HTTP permits.
    pub fn has_names(&self) -> bool {
        let special = b"!#$%&'*+-.^_`|~";
        let token = |b: &u8| b.is_ascii_alphanumeric() || special.contains(b);
        self.fields.iter().all(|(name, _)| !name.is_empty() && name.iter().all(token))
    }

    /// The fields, as a client takes them.
    pub fn slices(&self) -> Vec<(&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
    }
}

/// The protocol and each field on a line, with every byte that is not printable escaped; what is long
/// is cut short, unless it is asked for with `{:#}`.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = |long: usize| if f.alternate() { usize::MAX } else { long };
        let (most_fields, most_bytes) = (most(20), most(100));
        write!(f, "{:?}", self.protocol)?;
        for (name, value) in self.fields.iter().take(most_fields) {
            let shown = &value[..value.len().min(most_bytes)];
            write!(f, "\n  {}: \"{}\"", name.escape_ascii(), shown.escape_ascii())?;
            if shown.len() < value.len() {
                write!(f, "... ({} bytes)", value.len())?;
            }
        }
        if self.fields.len() > most_fields {
            write!(f, "\n  ... ({} fields)", self.fields.len())?;
        }
        Ok(())
    }
}

/// Whether HTTP forbids the byte in a value, or is at odds with itself about it.
pub fn is_control(byte: u8) -> bool {
    byte.is_ascii_control()
}

fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

fn one_in(rng: &mut Rng, n: u32) -> bool {
    rng.u32(..n) == 0
}

/// `name` in some case.
fn cased(rng: &mut Rng, name: &[u8]) -> Vec<u8> {
    let mut name = name.to_vec();
    match rng.u8(..4) {
        0 => name.make_ascii_uppercase(),
        1 => name.iter_mut().filter(|_| rng.bool()).for_each(|b| b.make_ascii_uppercase()),
        _ => {}
    }
    name
}

/// A name that is almost `name`.
fn near(rng: &mut Rng, name: &[u8]) -> Vec<u8> {
    let mut near = cased(rng, name);
    let at = rng.usize(..near.len());
    match rng.u8(..6) {
        0 => near.insert(at, rng.lowercase() as u8),
        1 => near.push(*pick(rng, b"-_.s1")),
        2 => near.splice(0..0, *b"x-").for_each(drop),
        // A header of one letter has no name that is shorter.
        3 if near.len() > 1 => drop(near.remove(at)),
        4 => near.extend_from_slice(name),
        _ => near[at] = *pick(rng, b"-_!~0"),
    }
    near
}

/// A name that has nothing to do with the policy. Names with a meaning for the connection, or for
/// where a body ends, are left out: they would make another request of it.
fn other(rng: &mut Rng) -> Vec<u8> {
    let names = [
        "accept",
        "cookie",
        "user-agent",
        "referer",
        "authorization",
        "x-forwarded-for",
        "x-request-id",
        "content-type",
        "cache-control",
        "true",
        "x",
    ];
    let name = pick(rng, &names).as_bytes();
    cased(rng, name)
}

/// A value: accepted, almost, or far from it; and in one of four, blanks around it.
fn value(rng: &mut Rng, policy: &Policy) -> Vec<u8> {
    let mut value = match rng.u8(..20) {
        0..=7 => accepted(rng, policy),
        8..=11 => mutated(rng, policy),
        12..=13 => {
            let mut list = accepted(rng, policy);
            for _ in 0..rng.usize(1..3) {
                list.extend_from_slice(pick(rng, &[",", ", ", " ,", ";"]).as_bytes());
                let next = if rng.bool() { accepted(rng, policy) } else { mutated(rng, policy) };
                list.extend(next);
            }
            list
        }
        14 => Vec::new(),
        15..=16 => bytes(rng, 1..=8, 0x80..=0xff),
        17 => bytes(rng, 1..=64, 0x20..=0x7e),
        18 if one_in(rng, 4) => {
            // A byte that HTTP forbids or frowns at; but not the one that ends a line.
            let mut value = accepted(rng, policy);
            let controls: Vec<u8> = (0..0x20).chain([0x7f]).filter(|&b| b != b'\n').collect();
            let control = if one_in(rng, 4) { b'\r' } else { *pick(rng, &controls) };
            value.insert(rng.usize(..=value.len()), control);
            value
        }
        19 if one_in(rng, 10) => {
            let most = *pick(rng, &[300, 5_000, LONGEST]);
            let size = rng.usize(1..=most);
            let accepted = accepted(rng, policy);
            accepted.iter().copied().cycle().take(size).collect()
        }
        _ => bytes(rng, 1..=8, 0x20..=0xff),
    };
    if one_in(rng, 4) {
        let blanks = |rng: &mut Rng| (0..rng.usize(..4)).map(|_| *pick(rng, &BLANKS)).collect();
        let (before, after): (Vec<u8>, Vec<u8>) = (blanks(rng), blanks(rng));
        value = [before, value, after].concat();
    }
    value
}

fn accepted(rng: &mut Rng, policy: &Policy) -> Vec<u8> {
    pick(rng, &policy.values).clone().into_bytes()
}

/// An accepted value with something off.
fn mutated(rng: &mut Rng, policy: &Policy) -> Vec<u8> {
    let mut value = accepted(rng, policy);
    let at = rng.usize(..value.len());
    match rng.u8(..8) {
        0 => value.make_ascii_uppercase(),
        1 => value[at] ^= 0x20,
        2 => value[at] ^= 0x80,
        3 => drop(value.remove(at)),
        4 => value.insert(at, rng.u8(0x20..=0x7e)),
        5 => value.extend_from_within(..),
        6 => value = [b"\"", value.as_slice(), b"\""].concat(),
        _ => value[at] = rng.u8(0x20..),
    }
    value
}

fn bytes(
    rng: &mut Rng,
    size: std::ops::RangeInclusive<usize>,
    of: std::ops::RangeInclusive<u8>,
) -> Vec<u8> {
    (0..rng.usize(size)).map(|_| rng.u8(of.clone())).collect()
}
