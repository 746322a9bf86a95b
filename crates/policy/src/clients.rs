//! Clients: many keys with a name each, and the table in which a gate finds one of them.

use std::collections::{BTreeSet, HashSet};

use header_gate_config::fields::{is_owned, named};
use header_gate_config::limits;
use header_gate_decision::hash::{bucket, mix, slot};
use header_gate_decision::write_image;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Policy;
use crate::terms::{field_name, field_value, limit, refuse};

/// Maximum number of clients: a displacement has 16 bits.
const CLIENTS_LIMIT: usize = 50_000;
/// Maximum size of all keys and names.
const TABLE_LIMIT: usize = 8 << 20;

/// How many seeds are tried before the keys count as impossible to tell apart.
const SEEDS: u64 = 10_000;

/// A client: its name, and its value or what is known of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// What `client_header` says to the upstream.
    pub id: String,
    /// The accepted value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value's SHA-256 in hexadecimal digits, instead of the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The value's size, if it is known; only with `sha256`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<usize>,
}

impl Client {
    /// A client without a name, with the digest of this value.
    ///
    /// # Errors
    /// No header has such a value, or it is too long.
    pub fn hashed(value: &str) -> Result<Self, String> {
        checked("value", value)?;
        let (sha256, size) = (Some(format!("{:x}", Sha256::digest(value))), Some(value.len()));
        Ok(Self { id: String::new(), value: None, sha256, size })
    }

    /// The digest of the value, if the policy is valid.
    fn digest(&self) -> Option<[u8; 32]> {
        if let Some(value) = &self.value {
            return Some(Sha256::digest(value).into());
        }
        let digits = self.sha256.as_ref()?.as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(pair[1])?) as u8);
        let bytes: Option<Vec<u8>> = digits.chunks_exact(2).map(byte).collect();
        bytes.filter(|_| digits.len() == 64)?.try_into().ok()
    }
}

/// The clients of a policy as the gate keeps them.
pub(crate) struct Table {
    pub seed: u64,
    pub displacements: Vec<u16>,
    /// Key by slot.
    pub keys: Vec<Vec<u64>>,
    /// Client by slot.
    pub clients: Vec<usize>,
}

impl Table {
    /// A table with a slot for each of the keys, none of which is a duplicate.
    fn of(keys: &[Vec<u64>]) -> Option<Self> {
        (1..=SEEDS).find_map(|seed| {
            let hash = |key: &Vec<u64>| key.iter().fold(seed, |hash, &word| mix(hash, word));
            let hashes: Vec<_> = keys.iter().map(hash).collect();
            let (displacements, clients) = placed(&hashes)?;
            let keys = clients.iter().map(|&client| keys[client].clone()).collect();
            Some(Self { seed, displacements, keys, clients })
        })
    }
}

/// The displacement of each bucket, and the key in each slot; none if the keys of some bucket find no place.
fn placed(hashes: &[u64]) -> Option<(Vec<u16>, Vec<usize>)> {
    let slots = hashes.len();
    let mut buckets = vec![Vec::new(); buckets(slots)];
    for (key, &hash) in hashes.iter().enumerate() {
        let buckets_len = buckets.len();
        buckets[bucket(hash, buckets_len)].push(key);
    }
    let mut order: Vec<_> = (0..buckets.len()).collect();
    // The largest first, while there is room.
    order.sort_by_key(|&bucket| usize::MAX - buckets[bucket].len());
    let (mut displacements, mut taken) = (vec![0; buckets.len()], vec![None; slots]);
    for number in order {
        let keys = &buckets[number];
        let places =
            |displacement| keys.iter().map(move |&key| slot(hashes[key], displacement, slots));
        let is_free = |displacement: &u16| {
            let mut seen = BTreeSet::new();
            places(*displacement).all(|slot| taken[slot].is_none() && seen.insert(slot))
        };
        let displacement = (0..=u16::try_from(slots).ok()?).find(is_free)?;
        for (&key, slot) in keys.iter().zip(places(displacement)) {
            taken[slot] = Some(key);
        }
        displacements[number] = displacement;
    }
    Some((displacements, taken.into_iter().collect::<Option<_>>()?))
}

/// Buckets of a table: two keys each, on average.
fn buckets(keys: usize) -> usize {
    keys.div_ceil(2)
}

impl Policy {
    /// Whether the gate keeps digests of the clients' values: of all, if the file has one of any.
    #[must_use]
    pub fn is_hashed(&self) -> bool {
        self.client.iter().any(|client| client.sha256.is_some())
    }

    /// The accepted values that the file names.
    #[must_use]
    pub fn accepted(&self) -> Vec<&str> {
        let clients = self.client.iter().filter_map(|client| client.value.as_ref());
        self.values.iter().chain(clients).map(String::as_str).collect()
    }

    /// Whether a header with this value passes.
    #[must_use]
    pub fn accepts(&self, value: impl AsRef<[u8]>) -> bool {
        let value = value.as_ref();
        let digest = Some(Sha256::digest(value).into());
        self.values.iter().any(|own| own.as_bytes() == value)
            || self.client.iter().any(|client| client.digest() == digest)
    }

    /// Whether no value may be shown.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.secret || !self.client.is_empty()
    }

    /// The sizes that accepted values have, in ascending order; none if some size is not known.
    #[must_use]
    pub fn sizes(&self) -> Vec<usize> {
        let clients = self.client.iter().map(|c| c.size.or(c.value.as_ref().map(String::len)));
        let sizes: Option<BTreeSet<_>> =
            self.values.iter().map(|value| Some(value.len())).chain(clients).collect();
        sizes.unwrap_or_default().into_iter().collect()
    }

    /// Size of the longest accepted value, or of the longest that could be one.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.sizes().last().copied().unwrap_or(limits::CLIENT_VALUE)
    }

    /// Words of the key of a client.
    pub(crate) fn key_words(&self) -> usize {
        if self.is_hashed() { 4 } else { self.words() }
    }

    /// Bytes of the clients' keys and names in memory.
    pub(crate) fn table_size(&self) -> usize {
        let n = self.client.len();
        let ids: usize = self.client.iter().map(|client| client.id.len()).sum();
        let ids = if self.client_header.is_some() { 4 * (n + 1) + ids } else { 0 };
        8 * self.key_words() * n + 2 * buckets(n) + ids
    }

    /// The table of the clients.
    pub(crate) fn table(&self) -> Option<Table> {
        let (is_hashed, words) = (self.is_hashed(), self.words());
        let key = |client: &Client| -> Option<Vec<u64>> {
            if is_hashed {
                let digest = client.digest()?;
                let (words, _) = digest.as_chunks();
                return Some(words.iter().map(|&word| u64::from_be_bytes(word)).collect());
            }
            let mut words = vec![0; words];
            write_image(&mut words, client.value.as_ref()?.as_bytes());
            Some(words)
        };
        Table::of(&self.client.iter().map(key).collect::<Option<Vec<_>>>()?)
    }
}

/// Checks the clients, and the header that names them.
pub(crate) fn check(policy: &Policy) -> Result<(), String> {
    let Policy { client: clients, client_header, header, values, .. } = policy;
    if let Some(name) = client_header {
        field_name("client_header", name)?;
        if clients.is_empty() {
            return refuse("client_header", "names clients, and there are none; add `[[client]]`");
        }
        if name == header {
            return refuse("client_header", format!("is `{name}`, and so is `header`"));
        }
        if is_owned(named(name.as_bytes())) || name == "host" {
            let reason = "which gateways write, merge or remove; use a name of your own, such as";
            return refuse("client_header", format!("is `{name}`, {reason} `x-client-id`"));
        }
    }
    if clients.is_empty() {
        return Ok(());
    }
    if !values.is_empty() {
        return refuse("client", "goes without `values`; give each value to a client");
    }
    if clients.len() > CLIENTS_LIMIT {
        let n = clients.len();
        return refuse("client", format!("has {n} items, at most {CLIENTS_LIMIT} allowed"));
    }
    let (mut ids, mut digests) = (HashSet::new(), HashSet::new());
    for (i, client) in clients.iter().enumerate() {
        let key = |name: &str| format!("client[{i}].{name}");
        if client.id.is_empty() {
            return refuse(&key("id"), "is empty");
        }
        field_value(&key("id"), &client.id)?;
        limit(&key("id"), client.id.len(), limits::ID)?;
        if !ids.insert(&client.id) {
            return refuse(&key("id"), "is a duplicate");
        }
        value(client, &key)?;
        if !digests.insert(client.digest()) {
            let name = if client.value.is_some() { "value" } else { "sha256" };
            return refuse(&key(name), "is a duplicate: two clients would have the same value");
        }
    }
    limit("client", policy.table_size(), TABLE_LIMIT)?;
    match policy.table() {
        Some(_) => Ok(()),
        None => refuse("client", "has keys that no seed tells apart; change one of them"),
    }
}

fn value(client: &Client, key: &impl Fn(&str) -> String) -> Result<(), String> {
    match (&client.value, &client.sha256) {
        (None, None) => return refuse(&key("value"), "is missing, and so is `sha256`"),
        (Some(_), Some(_)) => {
            return refuse(&key("sha256"), "stands beside `value`; keep one of them");
        }
        (Some(_), None) if client.size.is_some() => {
            return refuse(&key("size"), "goes with `sha256` alone: a value has its size");
        }
        (Some(value), None) => checked(&key("value"), value)?,
        (None, Some(_)) if client.digest().is_none() => {
            return refuse(&key("sha256"), "is not 64 hexadecimal digits, as `gate hash` prints");
        }
        (None, Some(_)) => {}
    }
    match client.size {
        Some(0) => refuse(&key("size"), "is 0: an empty header is never accepted"),
        Some(size) => limit(&key("size"), size, limits::CLIENT_VALUE),
        None => Ok(()),
    }
}

/// Checks a client's value.
fn checked(key: &str, value: &str) -> Result<(), String> {
    if value.is_empty() {
        return refuse(key, "is empty: an empty header is never accepted");
    }
    field_value(key, value)?;
    limit(key, value.len(), limits::CLIENT_VALUE)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use header_gate_decision::sha256::SCRATCH;
    use header_gate_decision::{Clients, Digests, Value};

    use super::*;

    #[test]
    fn each_key_has_a_slot_of_its_own() {
        for n in (1..200).chain([1000, 10_000, CLIENTS_LIMIT]) {
            let keys: Vec<_> = (0..n as u64).map(|i| vec![i, i.wrapping_mul(77)]).collect();
            let table = Table::of(&keys).unwrap();
            assert_eq!(table.clients.iter().collect::<HashSet<_>>().len(), n);
            for (at, key) in table.keys.iter().enumerate() {
                let hash = key.iter().fold(table.seed, |hash, &word| mix(hash, word));
                let displacement = table.displacements[bucket(hash, table.displacements.len())];
                assert_eq!(slot(hash, displacement, n), at, "{n}");
            }
        }
    }

    const VALUES: [&str; 5] = ["a", "nine byte", "9 letters", "a longer one", "another one!"];

    /// The policy with these values, the first of them as a digest if `hashed`; with or without its size.
    fn policy(hashed: bool, sized: bool) -> Policy {
        let client = |(n, value): (usize, &&str)| {
            let size = if sized { format!("size = {}\n", value.len()) } else { String::new() };
            let known = match hashed && n == 0 {
                true => format!("sha256 = \"{:X}\"\n{size}", Sha256::digest(value)),
                false => format!("value = \"{value}\"\n"),
            };
            format!("[[client]]\nid = \"{n}\"\n{known}")
        };
        let clients: String = VALUES.iter().enumerate().map(client).collect();
        let text = format!("header = \"a\"\n{clients}[deny]\nstatus = 403");
        Policy::parse(&text, Path::new("policy.toml")).unwrap()
    }

    /// The rule that the constants of the policy make.
    fn clients<const WORDS: usize, const SIZES: usize>(
        policy: &Policy,
    ) -> (Clients<WORDS, 5, 3, SIZES>, Vec<usize>) {
        let table = policy.table().unwrap();
        let keys: Vec<[u64; WORDS]> =
            table.keys.into_iter().map(|key| key.try_into().unwrap()).collect();
        let sizes: Vec<u32> = policy.sizes().into_iter().map(|size| size as u32).collect();
        let rule = Clients {
            seed: table.seed,
            displacements: table.displacements.try_into().unwrap(),
            keys: keys.try_into().unwrap(),
            sizes: sizes.try_into().unwrap(),
        };
        (rule, table.clients)
    }

    /// Checks that `find` knows each value and nothing near it.
    fn check(find: impl Fn(&str) -> Option<usize>, clients: &[usize]) {
        for (client, value) in VALUES.iter().enumerate() {
            assert_eq!(clients[find(value).unwrap()], client, "{value}");
            let (longer, shorter) = (format!("{value}x"), &value[1..]);
            let other = value.replace(|c: char| c.is_ascii_lowercase(), "x");
            for bad in [&longer, shorter, &other, &value.to_ascii_uppercase()] {
                assert_eq!(find(bad), None, "{bad}");
            }
        }
        assert_eq!(find(""), None);
    }

    #[test]
    fn a_table_finds_each_client_and_nobody_else() {
        let policy = policy(false, false);
        let (rule, slots) = clients::<2, 3>(&policy);
        check(|value| rule.find(&Value::of(value.as_bytes()), &mut [0; 0]), &slots);
        let sizes: Vec<_> = (0..300).filter(|&size| rule.accepts_size(size)).collect();
        assert_eq!(sizes, [1, 9, 12]);
        assert!(!rule.accepts_size(usize::MAX));
    }

    #[test]
    fn digests_find_each_client_and_nobody_else() {
        let known = policy(true, true);
        let (rule, slots) = clients::<4, 3>(&known);
        let rule = Digests { clients: rule, longest: known.longest() as u32 };
        let find = |value: &str| rule.find(&Value::<2>::of(value.as_bytes()), &mut [7; SCRATCH]);
        check(find, &slots);
        let sizes: Vec<_> = (0..300).filter(|&size| rule.accepts_size(size)).collect();
        assert_eq!((sizes, known.longest()), (vec![1, 9, 12], 12));
        // The digest is right, and the policy says that the value has another size.
        let other = Clients { sizes: [1, 8, 12], ..rule.clients };
        let rule = Digests { clients: other, ..rule };
        assert_eq!(rule.find(&Value::<2>::of(b"nine byte"), &mut [7; SCRATCH]), None);

        let unknown = policy(true, false);
        let (rule, slots) = clients::<4, 0>(&unknown);
        let rule = Digests { clients: rule, longest: unknown.longest() as u32 };
        let find = |value: &str| rule.find(&Value::<33>::of(value.as_bytes()), &mut [7; SCRATCH]);
        check(find, &slots);
        let sizes: Vec<_> = (0..300).filter(|&size| rule.accepts_size(size)).collect();
        assert!(sizes.iter().copied().eq(1..=256) && !rule.accepts_size(usize::MAX));
    }
}
