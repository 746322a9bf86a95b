//! Gates with options, as finished modules in the embedded host: what each option does, also with a host that lies.

mod support;

use std::fs;

use header_gate_cli::build::variant::Variant;
use header_gate_host::Step::{Allocate, Data, Size, Write};
use header_gate_host::{OK, Place, Plugin, Reply};
use support::{
    Gate, REFUSED, denied, each_pair_of_options, module, near_powers, passes, root, start,
};

const VALUE: &[u8] = b"true";
/// An exempt path.
const EXEMPT: &[u8] = b"/open/door";

/// A gate that accepts `allow: true`, with these lines in front of its answer, and more in it.
fn gate_of(options: &str, deny: &str) -> Gate {
    let text = format!("header = \"allow\"\nvalues = [\"true\"]\n{options}\n");
    Gate::new(&format!("{text}[deny]\nstatus = 403\nbody = \"no\"\n{deny}"))
}

#[test]
fn a_policy_that_names_the_defaults_makes_the_module_without_options() {
    let plain = module(&Variant::default());
    let text = fs::read_to_string(root().join("policy.toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (n, options) in ["remove = false", "count = false", "enforce = true", "secret = false"]
        .into_iter()
        .chain(["[except]", "[except]\npreflight = false", "[except]\nmethods = []\npaths = []"])
        .enumerate()
    {
        let file = folder.path().join(format!("{n}.toml"));
        fs::write(&file, text.replace("[deny]", &format!("{options}\n[deny]"))).unwrap();
        let variant = Variant::default().with_policy(&file);
        assert!(module(&variant) == plain, "{options} changes the module");
    }
}

#[test]
fn removal_takes_the_header_off_and_a_host_that_refuses_it_denies() {
    let mut gate = gate_of("remove = true", "");
    assert_eq!(passes(gate.vm.request(Some(VALUE)).unwrap()).removed, [(0, b"allow".to_vec())]);
    let bad = gate.vm.request(Some(b"TRUE")).unwrap();
    denied(&gate.policy, Some(b"TRUE"), &bad);
    assert!(bad.removed.is_empty());
    for status in near_powers().filter(|&status| status != OK) {
        let reply = Reply { other_status: status, ..Reply::honest(Some(VALUE)) };
        let outcome = gate.vm.request_with(reply).unwrap();
        // The host refuses the answer as well.
        assert_eq!((outcome.action, &outcome.response), (1, &None), "{status}");
    }
}

#[test]
fn a_dry_run_decides_and_never_answers() {
    let mut gate = gate_of("enforce = false\ncount = true", "");
    for value in [Some(VALUE), Some(b"TRUE"), None] {
        passes(gate.vm.request(value).unwrap());
    }
    let counted =
        [("header_gate.allowed".to_owned(), 1), ("header_gate.shadow_denied".to_owned(), 2)];
    assert_eq!(gate.vm.metrics(), counted);
    let text = String::from_utf8_lossy(&gate.module).into_owned();
    assert!(!text.contains("proxy_send_local_response"), "it could answer");
}

#[test]
fn counters_are_defined_once_and_a_host_that_refuses_them_changes_no_decision() {
    let mut gate = gate_of("count = true\n[except]\npaths = [\"/open/*\"]", "");
    for (headers, times) in [
        (&[("allow", VALUE)][..], 3),
        (&[("allow", b"TRUE")], 2),
        (&[(":path", EXEMPT)], 4),
        (&[(":path", b"/closed")], 1),
    ] {
        (0..times).for_each(|_| _ = gate.vm.request_of(headers).unwrap());
    }
    let counted = |counts: [u64; 3]| {
        let names = ["header_gate.allowed", "header_gate.exempt", "header_gate.denied"];
        names.map(str::to_owned).into_iter().zip(counts).collect::<Vec<_>>()
    };
    assert_eq!(gate.vm.metrics(), counted([3, 4, 3]));
    // The host refuses to count, and to answer.
    for status in near_powers().filter(|&status| status != OK) {
        let with = |reply| Reply { other_status: status, ..reply };
        passes(gate.vm.request_with(with(Reply::honest(Some(VALUE)))).unwrap());
        let bad = gate.vm.request_with(with(Reply::honest(None))).unwrap();
        assert_eq!(bad.action, 1);
    }
    assert_eq!(gate.vm.metrics(), counted([3, 4, 3]));
    // The host refuses the counters, and the numbers that it did not give are not used.
    let refuses = Reply { other_status: 12, ..Reply::default() };
    gate.vm = Plugin::new(&gate.module).unwrap().start_with_reply(refuses).unwrap();
    passes(gate.vm.request(Some(VALUE)).unwrap());
    denied(&gate.policy, None, &gate.vm.request(None).unwrap());
    assert!(gate.vm.metrics().is_empty());
}

#[test]
fn details_and_grpc_status_are_as_the_policy_says() {
    let deny = "details = \"wrong\"\nmissing_details = \"missing\"\ngrpc_status = 9\n";
    let mut gate = gate_of("", deny);
    let long = vec![b'x'; 5000];
    for (value, details) in [
        (None, "missing"),
        (Some(&b""[..]), "missing"),
        (Some(b"TRUE"), "wrong"),
        (Some(b"x"), "wrong"),
        (Some(&long), "wrong"),
    ] {
        let outcome = gate.vm.request(value).unwrap();
        let response = outcome.response.unwrap();
        let seen = (str::from_utf8(&response.details).unwrap(), response.grpc_status);
        assert_eq!(seen, (details, 9), "{value:?}");
    }
}

#[test]
fn exemptions_are_asked_for_on_the_way_to_a_denial_only() {
    let mut gate = gate_of(
        "[except]\npreflight = true\nmethods = [\"HEAD\"]\npaths = [\"/open/*\", \"/healthz\"]",
        "",
    );
    let method = |method: &'static str| (":method", method.as_bytes());
    let path = |path: &'static str| (":path", path.as_bytes());
    let [origin, asks] = [("origin", &b"a"[..]), ("access-control-request-method", b"GET")];
    let good = passes(gate.vm.request_of(&[("allow", VALUE), path("/")]).unwrap());
    assert_eq!(good.asked.len(), 1, "a good request pays nothing");
    for exempt in [
        &[method("HEAD"), path("/")][..],
        &[method("OPTIONS"), path("/"), origin, asks],
        &[method("GET"), path("/open/door")],
        &[method("GET"), path("/healthz?x")],
        &[path("/healthz")],
        // Of the size of an accepted value, which has a place of its own.
        &[method("GET"), path("/open/"), ("allow", b"nope")],
    ] {
        passes(gate.vm.request_of(exempt).unwrap());
    }
    for not_exempt in [
        &[method("GET"), path("/")][..],
        &[method("OPTIONS"), path("/"), origin],
        &[method("OPTIONS"), path("/"), asks],
        &[method("OPTIONS"), path("/"), (origin.0, b""), asks],
        &[method("GET"), path("/"), origin, asks],
        &[method("head"), path("/")],
        &[method("HEADS"), path("/")],
        &[method("GET"), path("/open/../x")],
        &[method("GET"), path("/open/%2e%2e/x")],
        &[method("GET"), path("open/door")],
        &[method("GET"), path("true")],
        &[],
    ] {
        denied(&gate.policy, None, &gate.vm.request_of(not_exempt).unwrap());
    }
}

#[test]
fn a_path_of_4096_bytes_is_read_and_a_longer_one_is_not_exempt() {
    let mut gate = gate_of("[except]\npaths = [\"/open/*\"]", "");
    let of = |size: usize| [b"/open/", &vec![b'x'; size - 6][..]].concat();
    for size in [6, 4095, 4096, 4097, 65_536, 100_000] {
        let outcome = gate.vm.request_of(&[(":path", &of(size))]).unwrap();
        assert_eq!(outcome.passes(), size <= 4096, "{size} bytes");
    }
    // Nothing else was overwritten.
    header_gate_host::gate::check(&gate.module, &gate.policy).unwrap();
    denied(&gate.policy, None, &gate.vm.request_of(&[(":path", b"/closed")]).unwrap());
    passes(gate.vm.request(Some(VALUE)).unwrap());
}

#[test]
fn a_host_that_lies_about_a_path_exempts_nothing() {
    let mut gate = gate_of("[except]\npaths = [\"/open/*\"]", "");
    let size = EXEMPT.len() as u32;
    let honest = Reply::honest(Some(EXEMPT));
    let place = Place::Allocated(0);
    let mut lies = vec![
        Reply::default(),
        // The right size and address of before, without memory that was lent now.
        Reply::ok([Size(size)]),
        Reply::ok([Allocate(size), Data(place), Size(size)]),
        Reply::ok([Allocate(size), Write(place, EXEMPT.to_vec()), Size(size)]),
        Reply::ok([Allocate(size), Write(place, EXEMPT.to_vec()), Data(place)]),
        // More or less than was lent.
        Reply::ok([Allocate(size - 1), Write(place, EXEMPT.to_vec()), Data(place), Size(size)]),
        Reply::ok([Allocate(size + 1), Write(place, EXEMPT.to_vec()), Data(place), Size(size)]),
        // All bytes but the first, or the first ones alone.
        Reply::ok([Allocate(size), Write(place, EXEMPT[..5].to_vec()), Data(place), Size(size)]),
    ];
    lies.extend(
        near_powers().filter(|&n| n != OK).map(|status| Reply { status, ..honest.clone() }),
    );
    lies.extend(near_powers().filter(|&n| n != size).map(|n| honest.clone().then(Size(n))));
    lies.extend(near_powers().map(|n| honest.clone().then(Data(Place::At(n)))));
    let lent = {
        // Where the path is put.
        passes(gate.vm.request_answered(&[(":path", honest.clone())]).unwrap());
        let memory = gate.vm.memory();
        memory.windows(EXEMPT.len()).position(|bytes| bytes == EXEMPT).unwrap() as u32
    };
    lies.push(Reply::ok([Data(Place::At(lent)), Size(size)]));
    for lie in lies {
        passes(gate.vm.request_answered(&[(":path", honest.clone())]).unwrap());
        denied(&gate.policy, None, &gate.vm.request_answered(&[(":path", lie)]).unwrap());
    }
    // Nothing is lent for a path unless it is asked for.
    for size in (5..2000).chain([65_536, u32::MAX]) {
        assert_eq!(gate.vm.allocate(size).unwrap(), REFUSED, "{size}");
    }
}

#[test]
fn each_pair_of_options_does_what_both_do() {
    each_pair_of_options(|file, _| start(&Variant::default().with_policy(file)));
}
