//! `gate hash`: what a policy keeps of a client's value.

use std::collections::BTreeMap;
use std::io::{self, Read};

use anyhow::{Context, Result, ensure};
use header_gate_policy::Client;

/// Reads a client's value from standard input, and prints the lines that stand for it in a policy
///
/// A value without a line feed at the end: `printf %s "$KEY" | gate hash`. (One is taken off.) The digest keeps a value
/// secret only if nobody can guess it: short and regular values are refused.
#[derive(Debug, clap::Args)]
pub struct Options {}

/// Fewest bytes of a value.
const SHORTEST: usize = 16;
/// Fewest bits that a value has to have.
const FEWEST: f64 = 80.0;
const MEND: &str = "use a random one, such as `openssl rand -hex 32` prints";

/// Runs `gate hash`.
pub fn run(_: Options) -> Result<()> {
    let mut input = String::new();
    io::stdin().read_to_string(&mut input).context("standard input")?;
    let value = input.strip_suffix('\n').unwrap_or(&input);
    let value = value.strip_suffix('\r').unwrap_or(value);
    let client = Client::hashed(value).map_err(|why| anyhow::anyhow!("standard input: {why}"))?;
    let (size, bits) = (value.len(), bits(value.as_bytes()));
    ensure!(size >= SHORTEST, "the value has {size} bytes, at least {SHORTEST} needed; {MEND}");
    ensure!(bits >= FEWEST, "the value is too easy to guess (about {bits:.0} bits); {MEND}");
    let digest = client.sha256.context("no digest")?;
    println!("sha256 = \"{digest}\"\nsize = {size}");
    Ok(())
}

/// An estimate of the bits that a value has: from how often it has each byte, or each step from one byte to the next,
/// whichever is less. It knows repetitions and sequences, and no words.
fn bits(value: &[u8]) -> f64 {
    let steps = value.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    entropy(value.iter().copied()).min(entropy(steps))
}

/// Shannon's entropy of all bytes together.
fn entropy(bytes: impl Iterator<Item = u8>) -> f64 {
    let mut counts = BTreeMap::<_, f64>::new();
    bytes.for_each(|byte| *counts.entry(byte).or_default() += 1.0);
    let all: f64 = counts.values().sum();
    counts.values().map(|count| count * (all / count).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::{FEWEST, bits};

    #[test]
    fn random_values_have_more_bits_than_regular_ones() {
        for random in [
            "3f1c9a52-7d0e-4b86-9c55-8e2f60a1d7b4",
            "f3b0c44298fc1c149afbf4c8996fb924",
            "n8Qm2LkVx0RtYw7ZcB4dEg",
        ] {
            assert!(bits(random.as_bytes()) >= FEWEST, "{random}");
        }
        for regular in [
            "",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "0123456789abcdef0123456789abcdef",
            "passwordpassword",
            "abababababababababababababababababab",
        ] {
            assert!(bits(regular.as_bytes()) < FEWEST, "{regular}");
        }
    }
}
