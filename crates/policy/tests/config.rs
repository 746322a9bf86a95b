//! The reader of configurations, compared with the reader of files. `tests/readers.rs` compares what the finished module
//! decides.

use std::path::Path;

use cases::Case;
use gate::{Gate, ROOT};
use header_gate_config::{BYTES, NONE, ROOTS, field, flag, limits};
use header_gate_policy::{Client, Policy};
use serde_json::Value;

mod cases;
mod gate;

/// Checks that a gate holds what a policy says.
fn holds(gate: &mut Gate, root: u32, policy: &Policy) {
    let (base, deny) = (gate.0.base(root), &policy.deny);
    for (text, expected) in [
        (field::HEADER, policy.header.as_bytes()),
        (field::CLIENT_HEADER, policy.client_header.as_deref().unwrap_or_default().as_bytes()),
        (field::BODY, deny.body.as_bytes()),
        (field::DETAILS, deny.details.as_bytes()),
        (field::MISSING_DETAILS, deny.missing_details.as_deref().unwrap_or_default().as_bytes()),
        (field::HEADERS, &policy.serialized_headers()),
    ] {
        assert_eq!(gate.text(root, text), expected, "{text}: {policy:?}");
    }
    for (number, expected) in [
        (field::STATUS, deny.status.into()),
        (field::GRPC_STATUS, deny.grpc_status.map_or(u32::MAX, u32::from)),
        (flag::REMOVE, policy.remove.into()),
        (flag::COUNT, policy.count.into()),
        (flag::ENFORCE, policy.enforce.into()),
        (flag::PREFLIGHT, policy.except.preflight.into()),
    ] {
        assert_eq!(gate.0.field(base, number), expected, "{number}: {policy:?}");
        assert_eq!(gate.0.is(base, number), expected != 0);
    }
    assert_eq!(gate.0.is(base, flag::MISSING_DETAILS), deny.missing_details.is_some());
    let values = policy.values.iter().map(|value| (value, ""));
    let clients =
        policy.client.iter().filter_map(|Client { id, value, .. }| Some((value.as_ref()?, &**id)));
    for (value, id) in values.chain(clients) {
        assert_eq!(gate.find(root, value.as_bytes()).as_deref(), Some(id.as_bytes()), "{value}");
        let (start, end) = (&value[1..], &value[..value.len() - 1]);
        for near in [
            start,
            end,
            &format!("~{start}"),
            &format!("{end}~"),
            &format!("x{value}"),
            &format!("{value}x"),
            &format!("{value}\0"),
        ] {
            let is_other = policy.values.iter().any(|own| own == near);
            assert_eq!(gate.find(root, near.as_bytes()).is_some(), is_other, "{near}");
        }
    }
    exempts(gate, root, policy);
}

/// Checks whom a gate exempts.
fn exempts(gate: &mut Gate, root: u32, policy: &Policy) {
    let base = gate.0.base(root);
    for (list, all) in
        [(field::METHODS, &policy.except.methods), (field::PATHS, &policy.except.paths)]
    {
        let is_own = |own: &String, text: &str| match own.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => own == text,
        };
        for own in all {
            let own = own.trim_end_matches('*');
            for text in
                [own, &own[1..], &own[..own.len() - 1], &format!("{own}/a"), &format!("a{own}")]
            {
                // A request's text has no more room.
                let Some(room) = gate.0.text.get_mut(..text.len()) else { continue };
                room.copy_from_slice(text.as_bytes());
                let found = gate.0.is_listed(base, list, text.len() as u32);
                let expected = all.iter().any(|own| is_own(own, text));
                assert_eq!(found, expected, "{text}: {policy:?}");
            }
        }
        // Each is followed by what ends it.
        let sizes = all.iter().map(|own| own.trim_end_matches('*').len() + 1);
        assert_eq!(gate.text(root, list).len(), sizes.sum::<usize>());
    }
}

#[test]
fn it_accepts_and_refuses_what_the_reader_of_files_does() {
    let all = cases::read();
    let cases = all.refused.iter().chain(&all.warned).chain(&all.fine);
    let mut gate = Gate::new();
    let (mut accepted, mut refused) = (0, 0);
    for (text, line) in cases.flat_map(Case::texts) {
        // What is no TOML has no JSON either.
        let Ok(value) = toml::from_str::<Value>(&text) else { continue };
        let blanks = gate.take(&format!("\r\n{value:#}\t ").replace('\n', "\r\n\t "));
        let taken = gate.take(&value.to_string());
        assert_eq!(taken.is_ok(), blanks.is_ok(), "{line}: {value}");
        match Policy::parse(&text, Path::new("my.toml")) {
            Ok(policy) => {
                assert_eq!(taken, Ok(()), "{line}: {value}");
                holds(&mut gate, ROOT, &policy);
                accepted += 1;
            }
            Err(_) => {
                assert!(taken.is_err(), "{line}: {value}");
                refused += 1;
            }
        }
        gate.0.retain(|_| true);
    }
    assert!(accepted > 60 && refused > 130, "{accepted} and {refused}");
}

/// A text with so many bytes in place of `@`, items in place of `"%"` or `"/%"`, or with the number itself in place of `$`.
fn sized(text: &str, size: usize) -> String {
    let items = |start: &str| {
        let items: Vec<_> = (0..size).map(|n| format!("\"{start}{n}\"")).collect();
        items.join(",")
    };
    text.replace('@', &"a".repeat(size))
        .replace("\"%\"", &items(""))
        .replace("\"/%\"", &items("/"))
        .replace('$', &size.to_string())
}

/// The size is the last that both readers take; the reason is why the next one is refused.
#[test]
fn both_readers_have_the_same_limits() {
    let policy = |more| format!(r#"{{"header":"a",{more},"deny":{{"status":403}}}}"#);
    let own = r#"{"id":"b","value":"b"}"#;
    let client = |more: &str| policy(format!(r#""client":[{own},{{{more}}}]"#));
    let values = |more: &str| policy(format!(r#""values":[{more}]"#));
    let except = |more| policy(format!(r#""values":["b"],"except":{{{more}}}"#));
    let deny = |more| format!(r#"{{"header":"a","values":["b"],"deny":{{"status":403,{more}}}}}"#);
    let digest = "c".repeat(64);
    let each = r#""1@","2@","3@","4@","5@","6@","7@","8@""#;
    for (size, text, reason) in [
        (limits::NAME, values(r#""b""#).replace(r#":"a""#, r#":"@""#), "header: too long"),
        (
            limits::NAME,
            policy(format!(r#""client":[{own}],"client_header":"@""#)),
            "client_header: too long",
        ),
        (limits::VALUES_SIZE, values(r#""@""#), "values: too long"),
        (limits::VALUES_SIZE / 8 - 1, values(each), "values: too long"),
        (limits::VALUES, values(r#""%""#), "values: too many items"),
        (limits::CLIENT_VALUE, client(r#""id":"c","value":"@""#), "client.value: too long"),
        (
            limits::CLIENT_VALUE,
            client(&format!(r#""id":"c","sha256":"{digest}","size":$"#)),
            "client.size: out of range",
        ),
        (limits::ID, client(r#""id":"@","value":"c""#), "client.id: too long"),
        (limits::METHOD, except(r#""methods":["@"]"#), "except.methods: too long"),
        (limits::EXCEPT, except(r#""methods":["%"]"#), "except.methods: too many items"),
        (limits::EXCEPT, except(r#""paths":["/%"]"#), "except.paths: too many items"),
        (limits::PATHS - 1, except(r#""paths":["/@"]"#), "except.paths: too long"),
        (limits::PATHS - 7, except(r#""paths":["/abc/*","/@"]"#), "except.paths: too long"),
        (limits::BODY, deny(r#""body":"@""#), "deny.body: too long"),
        (limits::NAME, deny(r#""details":"@""#), "deny.details: too long"),
        (limits::NAME, deny(r#""missing_details":"@""#), "deny.missing_details: too long"),
        (limits::NAME, deny(r#""headers":[["@","b"]]"#), "deny.headers: too long"),
        (limits::HEADERS - 15, deny(r#""headers":[["a","@"]]"#), "deny.headers: too long"),
    ] {
        let (mut gate, last, next) = (Gate::new(), sized(&text, size), sized(&text, size + 1));
        let read = |text: &str| Policy::of(serde_json::from_str::<Value>(text).unwrap());
        let policy = read(&last).unwrap_or_else(|error| panic!("{error}: {reason}"));
        assert_eq!(gate.take(&last), Ok(()), "{last}");
        holds(&mut gate, ROOT, &policy);
        let line = gate.take(&next).unwrap_err();
        assert!(line.ends_with(&format!(": {reason}")), "{line}, and not {reason}");
        assert!(read(&next).is_err(), "{reason}");
    }
}

#[test]
fn each_root_context_keeps_its_policy() {
    let text = |n: u32| {
        format!(
            r#"{{"header":"h{n}","values":["{n:0size$}"],"except":{{"methods":["M{n}"]}},"deny":{{"status":{}}}}}"#,
            400 + n,
            size = 1 + 30 * n as usize
        )
    };
    let policy = |n| Policy::of(serde_json::from_str::<Value>(&text(n)).unwrap()).unwrap();
    let mut gate = Gate::new();
    let roots = ROOTS as u32;
    for n in 0..roots {
        assert_eq!(gate.configure(n, text(n).as_bytes()), Ok(()));
    }
    let line = gate.configure(roots, text(1).as_bytes()).unwrap_err();
    assert!(line.ends_with("refused at byte 0: policy: no room"), "{line}");
    // Every third one ends; then others take their place.
    gate.0.retain(|root| root % 3 > 0);
    for n in 0..roots {
        if n % 3 > 0 {
            holds(&mut gate, n, &policy(n));
        } else {
            assert_eq!(gate.0.base(n), NONE);
        }
    }
    // A root context may be configured again: what it had is nobody's.
    for n in [1, 0, 2, 0] {
        assert_eq!(gate.configure(n, text(n + 5).as_bytes()), Ok(()));
    }
    let before = gate.0.policies().len();
    gate.0.retain(|_| true);
    assert!(gate.0.policies().len() < before);
    for n in 0..roots {
        match n {
            0..3 => holds(&mut gate, n, &policy(n + 5)),
            _ if n % 3 > 0 => holds(&mut gate, n, &policy(n)),
            _ => assert_eq!(gate.0.base(n), NONE),
        }
    }
    gate.0.retain(|_| false);
    assert_eq!((gate.0.policies().len(), gate.0.base(1), gate.0.base(NONE)), (0, NONE, NONE));
    // Nobody has the root context of none.
    assert_eq!(gate.configure(NONE, text(1).as_bytes()), Ok(()));
    assert_eq!(gate.0.base(NONE), NONE);
}

#[test]
fn policies_fill_the_memory_and_no_more() {
    let body = format!(r#"{{"status":403,"body":"{}"}}"#, "b".repeat(limits::BODY));
    let text = format!(r#"{{"header":"a","values":["c"],"deny":{body}}}"#);
    let mut gate = Gate::new();
    let taken = (0..1000).find(|n| match gate.configure(*n, text.as_bytes()) {
        Ok(()) => false,
        Err(line) => {
            assert!(line.ends_with(": policy: no room"), "{line}");
            true
        }
    });
    let taken = taken.unwrap();
    assert_eq!(taken as usize, BYTES / (gate.0.policies().len() / taken as usize));
    for n in 0..taken {
        assert_eq!(gate.text(n, field::BODY).len(), limits::BODY);
        assert_eq!(gate.find(n, b"c"), Some(Vec::new()));
    }
}

fn clients(count: usize, size: usize) -> String {
    let client = |n| format!(r#"{{"id":"c{n}","value":"{n:0size$}"}}"#);
    let clients: Vec<_> = (0..count).map(client).collect();
    format!(
        r#"{{"header":"a","client_header":"b","client":[{}],"deny":{{"status":403}}}}"#,
        clients.join(",")
    )
}

#[test]
fn a_thousand_clients_are_found_and_no_more_are_taken() {
    let mut gate = Gate::new();
    assert_eq!(gate.take(&clients(limits::ITEMS, 36)), Ok(()));
    for n in 0..limits::ITEMS {
        let id = gate.find(ROOT, format!("{n:036}").as_bytes());
        assert_eq!(id, Some(format!("c{n}").into_bytes()));
    }
    for n in limits::ITEMS..2 * limits::ITEMS {
        assert_eq!(gate.find(ROOT, format!("{n:036}").as_bytes()), None);
    }
    let before = gate.0.policies().to_vec();
    let line = gate.take(&clients(limits::ITEMS + 1, 8)).unwrap_err();
    assert!(line.ends_with(": client.id: too many items"), "{line}");
    // A refused configuration changes nothing.
    assert!(gate.0.policies() == before);
    assert!(gate.find(ROOT, format!("{:036}", 1).as_bytes()).is_some());
}

/// A value is only left as a key, and of one whose digest is compared nothing is.
#[test]
fn a_configuration_is_cleared_of_its_values() {
    let value = r"a s\u0065cret\u002d\u0074oken";
    let tail = b"oken";
    let sha256 = "0123456789abcdef".repeat(4);
    for (clients, left) in [
        (format!(r#"{{"id":"a","value":"{value}"}}"#), 1),
        (format!(r#"{{"id":"a","value":"{value}"}},{{"id":"b","sha256":"{sha256}"}}"#), 0),
    ] {
        let mut gate = Gate::new();
        let text = format!(r#"{{"header":"a","client":[{clients}],"deny":{{"status":403}}}}"#);
        assert_eq!(gate.take(&text), Ok(()));
        let windows = gate.0.bytes.windows(tail.len());
        assert_eq!(windows.filter(|bytes| bytes == tail).count(), left, "{text}");
        assert_eq!(gate.find(ROOT, b"a secret-token"), Some(b"a".to_vec()));
    }
}

#[test]
fn a_digest_is_that_of_a_value_with_its_size_or_with_any() {
    // That of "v".
    let sha256 = "4C94485E0C21AE6C41CE1DFE7B6BFACEEA5AB68E40A2476F50208E526F506080";
    for (size, sizes) in [("", 1..=256), (r#","size":1"#, 1..=2), (r#","size":3"#, 2..=3)] {
        for (sha256, is_own) in [(sha256.to_owned(), true), ("0".repeat(64), false)] {
            let mut gate = Gate::new();
            let clients =
                format!(r#"{{"id":"a","sha256":"{sha256}"{size}}},{{"id":"b","value":"vv"}}"#);
            let text = format!(r#"{{"header":"a","client":[{clients}],"deny":{{"status":403}}}}"#);
            assert_eq!(gate.take(&text), Ok(()));
            let base = gate.0.base(ROOT);
            let accepted: Vec<_> = (0..5000).filter(|n| gate.0.accepts_size(base, *n)).collect();
            assert_eq!(accepted, sizes.clone().collect::<Vec<_>>());
            let found = gate.find(ROOT, b"v");
            assert_eq!(found.is_some(), sizes.contains(&1) && is_own);
            assert_eq!(gate.find(ROOT, b"vv"), Some(b"b".to_vec()));
            assert_eq!(gate.find(ROOT, b"w"), None);
        }
    }
}
