//! Gates with clients, as finished modules in the embedded host: whose key passes, what the upstream is told, and what a
//! gate of many keys costs.

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use header_gate_cli::build::native;
use header_gate_host::{Outcome, Reply, Step};
use sha2::{Digest, Sha256};
use support::{Gate, denied, root};

/// How the policy knows a key.
#[derive(Clone, Copy, Debug)]
enum As {
    Value,
    Digest,
    DigestAndSize,
}

const KINDS: [As; 3] = [As::Value, As::Digest, As::DigestAndSize];

/// A key of 36 characters, as random as keys are.
fn key(n: usize) -> String {
    format!("{:x}", Sha256::digest(n.to_le_bytes()))[..36].to_owned()
}

fn policy(options: &str, keys: &[String], kind: As) -> String {
    let mut text = format!("header = \"x-key\"\n{options}\n");
    for (n, key) in keys.iter().enumerate() {
        let digest = format!("sha256 = \"{:X}\"", Sha256::digest(key));
        let known = match kind {
            As::Value => format!("value = \"{key}\""),
            As::Digest => digest,
            As::DigestAndSize => format!("{digest}\nsize = {}", key.len()),
        };
        write!(text, "[[client]]\nid = \"client {n}\"\n{known}\n").unwrap();
    }
    text
}

/// The gate with this policy, whose answer is added.
fn gate_of(text: &str) -> Gate {
    Gate::new(&format!("{text}\n[deny]\nstatus = 401\nbody = \"no\"\n"))
}

fn ask(gate: &mut Gate, value: impl AsRef<[u8]>) -> Outcome {
    gate.vm.request(Some(value.as_ref())).unwrap()
}

/// What the gate writes for a client.
fn named(n: usize) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
    vec![(0, b"x-id".to_vec(), format!("client {n}").into_bytes())]
}

#[test]
fn each_client_is_named_and_nobody_else_passes() {
    for n in [1, 9] {
        // Of several sizes, from one byte on; several of one size.
        let keys: Vec<_> = (0..n).map(|i| key(i)[..[1, 4, 12, 36, 36][i % 5]].to_owned()).collect();
        for kind in KINDS {
            let mut gate = gate_of(&policy("client_header = \"X-Id\"", &keys, kind));
            for (i, key) in keys.iter().enumerate() {
                let outcome = ask(&mut gate, key);
                assert!(outcome.passes(), "{n} {kind:?} {i}");
                assert_eq!(outcome.replaced, named(i), "{n} {kind:?}");
                for at in 0..key.len() {
                    for change in [1, 0x20, 0x80] {
                        let mut other = key.clone().into_bytes();
                        other[at] ^= change;
                        let outcome = ask(&mut gate, &other);
                        assert!(outcome.replaced.is_empty());
                        if !keys.iter().any(|key| key.as_bytes() == other) {
                            denied(&gate.policy, Some(b"x"), &outcome);
                        }
                    }
                }
                for other in [&key[1..], &format!("{key}0"), &key.repeat(20)] {
                    if !keys.iter().any(|key| key == other) {
                        let outcome = ask(&mut gate, other);
                        denied(&gate.policy, Some(b"x"), &outcome);
                    }
                }
            }
        }
    }
}

#[test]
fn ten_thousand_keys_cost_a_request_what_eight_do() {
    let keys: Vec<_> = (0..10_000).map(key).collect();
    for kind in [As::Value, As::DigestAndSize] {
        let mut costs = BTreeMap::new();
        for n in [8, keys.len()] {
            let mut gate = gate_of(&policy("", &keys[..n], kind));
            let (good, bad) = (ask(&mut gate, &keys[n - 1]), ask(&mut gate, key(keys.len())));
            assert!(good.passes());
            denied(&gate.policy, Some(b"x"), &bad);
            let pages = gate.vm.memory().len() >> 16;
            costs.insert(n, (good.cost.fuel, bad.cost.fuel, gate.module.len(), pages));
        }
        let [(good, bad, size, pages), many] = [costs[&8], costs[&keys.len()]];
        assert!(many.0 <= 2 * good && many.1 <= 2 * bad, "{kind:?}: {costs:?}");
        // A key has 36 bytes, or its digest 32.
        let each = (many.2 - size) / (keys.len() - 8);
        assert!(each <= 36 + 12, "{kind:?}: {each} bytes a key");
        // As many pages as the data needs.
        assert_eq!((pages, many.3), (1, many.2.div_ceil(1 << 16)), "{kind:?}");
    }
}

#[test]
fn a_digest_is_computed_only_for_a_value_that_the_host_delivered_and_whose_size_fits() {
    let (right, keys) = (key(0), [key(0)]);
    for (kind, longest) in [(As::DigestAndSize, 36), (As::Digest, 256)] {
        let mut gate = gate_of(&policy("", &keys, kind));
        let hashed = ask(&mut gate, &right).cost.fuel;
        assert!(hashed > 2000, "{hashed}");
        let honest = Reply::honest(Some(right.as_bytes()));
        let mut others = vec![
            Reply::honest(None),
            Reply::honest(Some(b"")),
            Reply::honest(Some(&vec![b'x'; longest + 1])),
            Reply { status: 1, ..honest.clone() },
            honest.clone().then(Step::Data(header_gate_host::Place::At(8))),
        ];
        let sizes = [0, longest as u32 + 1, 1 << 31, u32::MAX];
        others.extend(sizes.map(|size| honest.clone().then(Step::Size(size))));
        for reply in others {
            let outcome = gate.vm.request_with(reply.clone()).unwrap();
            denied(&gate.policy, Some(b"x"), &outcome);
            assert!(outcome.cost.fuel < hashed / 2, "{kind:?}: {reply:?}: {}", outcome.cost.fuel);
        }
    }
    // The digest is right, and the policy says that the value has another size.
    let mut gate = gate_of(&policy("", &keys, As::DigestAndSize).replace("size = 36", "size = 35"));
    let outcome = ask(&mut gate, &right);
    denied(&gate.policy, Some(b"x"), &outcome);
}

#[test]
fn no_gate_contains_a_value_of_which_the_policy_has_a_digest() {
    let keys = [key(0), key(1)];
    for options in ["", "count = true\nclient_header = \"x-id\""] {
        // The second value is known, and is not kept either.
        let text = policy(options, &keys[..1], As::DigestAndSize)
            + &format!("[[client]]\nid = \"second\"\nvalue = \"{}\"\n", keys[1]);
        let gate = gate_of(&text);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hashed.toml");
        fs::write(&file, text + "[deny]\nstatus = 401").unwrap();
        let (library, _) = native::build(root(), &file, None).unwrap();
        for (bytes, what) in [(gate.module, "module"), (library, "library")] {
            for key in &keys {
                // Not even eight bytes of it, which a word of an image would be.
                for part in key.as_bytes().windows(8) {
                    assert!(!bytes.windows(8).any(|window| window == part), "{what}: {key}");
                }
            }
        }
    }
}

#[test]
fn a_host_that_refuses_the_name_denies() {
    let options = "client_header = \"x-id\"\n[except]\npaths = [\"/open\"]";
    let mut gate = gate_of(&policy(options, &[key(0)], As::Value));
    for status in (1..=12).chain([255, 256, u32::MAX]) {
        let with = |reply| Reply { other_status: status, ..reply };
        // Every other call fails, the answer's as well.
        let good = gate.vm.request_with(with(Reply::honest(Some(key(0).as_bytes())))).unwrap();
        assert_eq!((good.action, good.response), (1, None), "{status}");
        let exempt = gate.vm.request_refused(&[(":path", b"/open")], status).unwrap();
        assert_eq!((exempt.action, exempt.response), (1, None), "{status}");
    }
    // A dry run lets everything pass.
    let mut gate =
        gate_of(&policy("client_header = \"x-id\"\nenforce = false", &[key(0)], As::Value));
    for value in [key(0), key(1)] {
        let refused = Reply { other_status: 1, ..Reply::honest(Some(value.as_bytes())) };
        assert!(gate.vm.request_with(refused).unwrap().passes());
    }
}

#[test]
fn only_the_gate_writes_the_header_that_names_the_client() {
    let taken = [(0, b"x-id".to_vec())];
    let header = "client_header = \"x-id\"";
    let options = format!("{header}\nremove = true\n[except]\npaths = [\"/open\"]");
    let mut gate = gate_of(&policy(&options, &[key(0)], As::Value));
    let exempt = gate.vm.request_of(&[(":path", b"/open"), ("x-id", b"forged")]).unwrap();
    assert!(exempt.passes() && exempt.replaced.is_empty());
    assert_eq!(exempt.removed, taken);
    let good = gate.vm.request_of(&[("x-key", key(0).as_bytes())]).unwrap();
    assert!(good.passes());
    assert_eq!((good.replaced, good.removed), (named(0), vec![(0, b"x-key".to_vec())]));

    let dry = policy(&format!("{header}\nenforce = false"), &[key(0)], As::Value);
    let mut gate = gate_of(&dry);
    let shadow = ask(&mut gate, key(1));
    assert!(shadow.passes() && shadow.replaced.is_empty());
    assert_eq!(shadow.removed, taken);
    let good = ask(&mut gate, key(0));
    assert!(good.passes() && good.removed.is_empty());
    assert_eq!(good.replaced, named(0));
}
