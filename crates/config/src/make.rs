//! From a draft to a policy in the store: its texts, and its keys as images in a table.

use header_gate_decision::hash::mix;
use header_gate_decision::sha256::{self, digest_words};
use header_gate_decision::write_image;

use crate::json::Text;
use crate::limits::{self, ITEMS};
use crate::policy::{CLIENT_HEADER, CLIENTS, HASHED, HEADERS, Item, Policy, TEXTS};
use crate::reason::Reason;
use crate::table::{Table, buckets};
use crate::{HASHED_WORDS, Image, Scratch};

/// Words of a digest.
const DIGEST: usize = 4;

/// Writes behind what is in the store, as long as there is room.
struct Writer<'a> {
    room: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    #[inline(never)]
    fn put(&mut self, bytes: &[u8]) -> Text {
        let start = self.at;
        for &byte in bytes {
            if let Some(place) = self.room.get_mut(self.at) {
                *place = byte;
            }
            self.at += 1;
        }
        Text::between(start, self.at)
    }
}

/// Writes a policy to `room`; returns how much of it that took.
pub(crate) fn make(
    policy: &mut Policy,
    text: &[u8],
    room: &mut [u8],
    image: &mut Image,
    scratch: &mut Scratch,
) -> Result<usize, Reason> {
    let mut writer = Writer { room, at: 0 };
    let pairs = policy.texts[HEADERS];
    for number in (0..TEXTS).filter(|&number| number != HEADERS) {
        if let Some(place) = policy.texts.get_mut(number) {
            *place = writer.put(place.of(text));
        }
    }
    policy.texts[HEADERS] = headers(&mut writer, pairs.of(text));
    measure(policy, &mut writer, scratch)?;
    names(policy, &mut writer, text, scratch)?;
    keys(policy, &mut writer, text, image, scratch);
    if writer.at > writer.room.len() {
        return Err(Reason::Memory);
    }
    unique(policy, &mut writer)?;
    table(policy, &mut writer, scratch)?;
    if writer.at > writer.room.len() { Err(Reason::Memory) } else { Ok(writer.at) }
}

/// The denial's headers as the Proxy-Wasm specification serializes maps: the number of pairs, the sizes of each name
/// and value, all u32 in little-endian order; then each name and each value, every one followed by a zero byte.
fn headers(writer: &mut Writer<'_>, pairs: &[u8]) -> Text {
    let start = writer.at;
    let entries: u32 = pairs.iter().map(|byte| u32::from(*byte == 0)).sum();
    writer.put(&(entries / 2).to_le_bytes());
    let mut size = 0_u32;
    for &byte in pairs {
        if byte == 0 {
            writer.put(&size.to_le_bytes());
        }
        size = if byte == 0 { 0 } else { size + 1 };
    }
    writer.put(pairs);
    Text::between(start, writer.at)
}

fn items<'a>(policy: &Policy, scratch: &'a Scratch) -> &'a [Item] {
    scratch.items.get(..policy.items as usize).unwrap_or_default()
}

/// Finds out how long an image is, and which sizes values have.
fn measure(policy: &mut Policy, writer: &mut Writer<'_>, scratch: &Scratch) -> Result<(), Reason> {
    let (start, mut longest, mut is_known) = (writer.at, 0, true);
    for item in items(policy, scratch) {
        longest = longest.max(item.size);
        is_known &= item.size > 0;
        policy.set(HASHED, policy.is(HASHED) || item.is_digest);
        let size = (item.size as u16).to_le_bytes();
        let listed = writer.room.get(start..writer.at).unwrap_or_default();
        if !listed.as_chunks().0.contains(&size) {
            writer.put(&size);
        }
    }
    if is_known {
        policy.sizes = Text::between(start, writer.at);
    } else {
        longest = limits::CLIENT_VALUE as u32;
    }
    policy.longest = longest;
    policy.words = if policy.is(HASHED) { HASHED_WORDS as u32 } else { (longest + 4).div_ceil(8) };
    let all = longest as usize * policy.items as usize;
    if !policy.is(CLIENTS) && all > limits::VALUES_SIZE { Err(Reason::Long) } else { Ok(()) }
}

/// Writes the names of clients, and checks that no two are the same.
fn names(
    policy: &mut Policy,
    writer: &mut Writer<'_>,
    text: &[u8],
    scratch: &Scratch,
) -> Result<(), Reason> {
    let items = items(policy, scratch);
    for (number, item) in items.iter().enumerate() {
        let id = item.id.of(text);
        let others = items.get(..number).unwrap_or_default();
        if policy.is(CLIENTS) && others.iter().any(|other| is_same(other.id.of(text), id)) {
            return Err(Reason::Duplicate);
        }
    }
    if policy.texts[CLIENT_HEADER].size == 0 {
        return Ok(());
    }
    (policy.ids, policy.names) = (writer.at as u32, writer.at as u32 + 4 * policy.items);
    let mut at = 0;
    for item in items {
        writer.put(&(at << 8 | item.id.size).to_le_bytes());
        at += item.id.size;
    }
    for item in items {
        writer.put(item.id.of(text));
    }
    Ok(())
}

/// Whether two texts are the same: from the end, where names differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().rev().zip(b.iter().rev()).all(|(a, b)| a == b)
}

/// Writes the key of each item, an image or a digest.
fn keys(
    policy: &mut Policy,
    writer: &mut Writer<'_>,
    text: &[u8],
    image: &mut Image,
    scratch: &mut Scratch,
) {
    policy.keys = writer.at as u32;
    let (words, is_hashed) = (policy.words as usize, policy.is(HASHED));
    for number in 0..policy.items as usize {
        let item = scratch.items.get(number).copied().unwrap_or(Item::NONE);
        let value = item.value.of(text);
        if item.is_digest {
            let (parts, _) = value.as_chunks();
            for part in parts {
                writer.put(&u64::from_be_bytes(*part).to_le_bytes());
            }
            continue;
        }
        image.fill(0);
        if let Some(image) = image.get_mut(..words) {
            write_image(image, value);
        }
        if is_hashed {
            hash(image, value.len(), &mut scratch.sha256);
        }
        for word in image.get(..key_words(policy)).unwrap_or_default() {
            writer.put(&word.to_le_bytes());
        }
    }
}

/// Words of a key.
pub(crate) fn key_words(policy: &Policy) -> usize {
    if policy.is(HASHED) { DIGEST } else { policy.words as usize }
}

/// Makes the digest of an image in its place.
pub(crate) fn hash(image: &mut Image, size: usize, scratch: &mut [u32; sha256::SCRATCH]) {
    if let Some(words) = image.first_chunk::<HASHED_WORDS>() {
        digest_words(words, size, scratch);
    }
    for (i, word) in image.iter_mut().take(DIGEST).enumerate() {
        *word = sha256::word(scratch, i);
    }
}

/// Checks that no two keys are the same.
fn unique(policy: &Policy, writer: &mut Writer<'_>) -> Result<(), Reason> {
    let size = 8 * key_words(policy);
    let keys = writer.room.get(policy.keys as usize..writer.at).unwrap_or_default();
    let key = |number: usize| Text::between(number * size, (number + 1) * size).of(keys);
    for number in 0..policy.items as usize {
        if (0..number).any(|other| is_same(key(other), key(number))) {
            return Err(Reason::Duplicate);
        }
    }
    Ok(())
}

/// Makes the table in which a request finds its key.
fn table(
    policy: &mut Policy,
    writer: &mut Writer<'_>,
    scratch: &mut Scratch,
) -> Result<(), Reason> {
    let (items, buckets) = (policy.items as usize, buckets(policy.items as usize));
    let words = key_words(policy);
    policy.buckets = buckets as u32;
    let Scratch { hashes, displacements, slots, first, next, .. } = scratch;
    let (Some(hashes), Some(displacements), Some(slots), Some(first)) = (
        hashes.get_mut(..items),
        displacements.get_mut(..buckets),
        slots.get_mut(..items),
        first.get_mut(..buckets),
    ) else {
        return Err(Reason::Memory);
    };
    let mut table = Table { displacements, slots, first, next };
    loop {
        policy.seed += 1;
        if policy.seed > limits::SEEDS {
            return Err(Reason::Apart);
        }
        let keys = writer.room.get(policy.keys as usize..).unwrap_or_default();
        let mut left = keys.as_chunks().0.iter();
        for hash in &mut *hashes {
            let key = left.by_ref().take(words);
            *hash = key.fold(policy.seed, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        }
        if table.place(hashes) {
            break;
        }
    }
    policy.displacements = writer.at as u32;
    policy.slots = (writer.at + 2 * buckets) as u32;
    for number in table.displacements.iter().chain(&*table.slots) {
        writer.put(&number.to_le_bytes());
    }
    Ok(())
}

const _: () = assert!(ITEMS < u16::MAX as usize);
