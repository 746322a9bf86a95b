//! The module whose policy comes from the plugin's configuration, in the embedded host: it decides as the policy says,
//! also with a host that lies.

mod support;

use header_gate_cli::build::variant::Variant;
use header_gate_contract::{Contract, inspect};
use header_gate_host::Place::{Allocated, At};
use header_gate_host::Step::{Allocate, Call, Data, Size, Write};
use header_gate_host::{OK, Plugin, ROOT, Reply, Step, Vm};
use header_gate_policy::Policy;
use support::{REFUSED, conforms, each_pair_of_options, module, root};

fn plugin() -> Plugin {
    Plugin::new(&module(&Variant::config())).unwrap()
}

fn json(policy: &Policy) -> String {
    serde_json::to_string(policy).unwrap()
}

/// A policy that accepts this value and denies with this status.
fn small(value: &str, status: u16) -> String {
    format!(r#"{{"header":"allow","values":["{value}"],"deny":{{"status":{status}}}}}"#)
}

/// Whether a request to the plugin with this root context passes.
#[track_caller]
fn passes(vm: &mut Vm, root: u32, value: &[u8]) -> bool {
    vm.request_in(root, Some(value)).unwrap().passes()
}

/// The status with which a request is denied.
#[track_caller]
fn denied(vm: &mut Vm, root: u32, value: Option<&[u8]>) -> u32 {
    let outcome = vm.request_in(root, value).unwrap();
    assert!(!outcome.passes());
    outcome.response.expect("a denial").status
}

#[test]
fn it_keeps_a_contract_of_its_own() {
    let [config, default] =
        [Variant::config(), Variant::default()].map(|variant| inspect(&module(&variant)).unwrap());
    let contract = "config".parse().unwrap();
    assert_eq!(config.violations(&contract), Vec::<String>::new());
    assert!(!config.violations(&Contract::default()).is_empty());
    let missing = default.violations(&contract);
    assert!(missing.contains(&"missing export proxy_on_configure".to_owned()), "{missing:?}");
}

#[test]
fn it_conforms_to_the_table() {
    let policy = Policy::read(&root().join("policy.toml")).unwrap();
    conforms(plugin().start_configured(json(&policy).as_bytes()).unwrap(), &Variant::config());
}

#[test]
fn each_pair_of_options_decides_as_a_policy_that_is_compiled_in() {
    let plugin = plugin();
    each_pair_of_options(|_, policy| plugin.start_configured(json(policy).as_bytes()).unwrap());
}

#[test]
fn without_a_configuration_all_requests_are_denied() {
    let mut vm = plugin().start().unwrap();
    for value in [None, Some(&b""[..]), Some(b"true"), Some(&[0; 4])] {
        assert_eq!(denied(&mut vm, ROOT, value), 503);
        assert_eq!(denied(&mut vm, 0, value), 503);
        assert_eq!(denied(&mut vm, u32::MAX, value), 503);
    }
    // Nothing is lent meanwhile.
    for size in [0, 1, 4, 256, 4096, 65_536] {
        assert_eq!(vm.allocate(size).unwrap(), REFUSED);
    }
}

#[test]
fn a_refused_configuration_is_logged_and_changes_nothing() {
    let mut vm = plugin().start().unwrap();
    let too_long = " ".repeat(65_537);
    let nested = "[".repeat(65_000);
    let bad: Vec<(Vec<u8>, &str)> = vec![
        (b"".to_vec(), "policy: missing"),
        (b"topsecret".to_vec(), "policy: wrong type"),
        (small("topsecret", 403)[..30].into(), "values: invalid JSON"),
        (small("topsecret", 600).into(), "deny.status: out of range"),
        (small("topsec\\u0000ret", 403).into(), "values: not allowed"),
        (small("topsecret\\ud800", 403).into(), "values: invalid JSON"),
        (small("topsecret\",\"topsecret", 403).into(), "values: duplicate"),
        (nested.into(), "policy: wrong type"),
        (too_long.into(), "policy: too long"),
    ];
    for configured in [false, true] {
        for (text, reason) in &bad {
            assert!(!vm.configure(ROOT, text).unwrap(), "{reason}");
            let [line] = vm.log() else { panic!("{:?}", vm.log()) };
            assert!(line.ends_with(reason) && !line.contains("secret"), "{line}");
            assert_eq!(passes(&mut vm, ROOT, b"true"), configured);
            assert!(!vm.memory().windows(9).any(|bytes| bytes == b"topsecret"), "{reason}");
            assert!(!passes(&mut vm, ROOT, b"topsecret"));
        }
        assert!(vm.configure(ROOT, small("true", 403).as_bytes()).unwrap());
        assert!(vm.log().is_empty());
    }
    // The next one is taken over whole.
    assert!(vm.configure(ROOT, small("next", 401).as_bytes()).unwrap());
    assert!(passes(&mut vm, ROOT, b"next"));
    assert_eq!(denied(&mut vm, ROOT, Some(b"true")), 401);
}

#[test]
fn the_largest_configuration_is_taken() {
    let policy = small("true", 403);
    let text =
        policy.replace("{\"header", &format!("{{{}\"header", " ".repeat(65_536 - policy.len())));
    assert_eq!(text.len(), 65_536);
    let mut vm = plugin().start().unwrap();
    assert!(vm.configure(ROOT, text.as_bytes()).unwrap());
    assert!(passes(&mut vm, ROOT, b"true"));
    // Nothing of a configuration is left but the policy.
    let memory = vm.memory().to_vec();
    assert!(!memory.windows(8).any(|bytes| bytes == b"\"header\""));
}

#[test]
fn each_root_context_is_decided_by_its_own_policy() {
    let mut vm = plugin().start().unwrap();
    let roots: Vec<_> = (0..40).map(|_| vm.open_root().unwrap()).collect();
    for (n, root) in (0..).zip(&roots) {
        assert!(vm.configure(*root, small(&format!("v{n}"), 400 + n).as_bytes()).unwrap());
    }
    let check = |vm: &mut Vm, root: u32, n: u16| {
        assert!(passes(vm, root, format!("v{n}").as_bytes()));
        assert_eq!(denied(vm, root, Some(format!("v{}", n + 1).as_bytes())), u32::from(400 + n));
    };
    for (n, root) in (0..).zip(&roots) {
        check(&mut vm, *root, n);
    }
    // Requests in between each other, as a host that is not Envoy may open them.
    let contexts: Vec<_> = roots.iter().map(|root| vm.open_in(*root).unwrap()).collect();
    for (n, context) in contexts.iter().enumerate() {
        let value = format!("v{n}");
        let outcome = vm.headers(*context, Reply::honest(Some(value.as_bytes()))).unwrap();
        assert!(outcome.passes(), "{n}");
    }
    // Every other one ends, and one is configured again: the rest keep their own.
    roots.iter().skip(1).step_by(2).for_each(|root| vm.close_root(*root));
    assert!(vm.configure(roots[2], small("v2", 402).as_bytes()).unwrap());
    for (n, root) in (0..).zip(&roots).step_by(2) {
        check(&mut vm, *root, n);
    }
    assert_eq!(denied(&mut vm, u32::MAX, Some(b"v0")), 503);
    // A request of which nobody said whose it is.
    let outcome = vm.headers(999_999, Reply::honest(Some(b"v0"))).unwrap();
    assert!(!outcome.passes());
    assert_eq!(outcome.response.unwrap().status, 503);
}

#[test]
fn root_contexts_come_and_go() {
    let mut vm = plugin().start().unwrap();
    let lasting = vm.open_root().unwrap();
    assert!(vm.configure(lasting, small("lasting", 401).as_bytes()).unwrap());
    for n in 0..200 {
        let root = vm.open_root().unwrap();
        let value = format!("value-{n}");
        assert!(vm.configure(root, small(&value, 403).as_bytes()).unwrap(), "{n}");
        assert!(passes(&mut vm, root, value.as_bytes()) && passes(&mut vm, lasting, b"lasting"));
        assert!(!passes(&mut vm, lasting, value.as_bytes()));
        vm.close_root(root);
        // Another one is configured again, with a longer value each time.
        let longer = "long".repeat(n + 1);
        assert!(vm.configure(lasting, small(&longer, 401).as_bytes()).unwrap());
        assert!(passes(&mut vm, lasting, longer.as_bytes()));
        assert!(!passes(&mut vm, lasting, b"lasting"));
        assert!(vm.configure(lasting, small("lasting", 401).as_bytes()).unwrap());
    }
    // As many as there is room for, and then one too many: it is denied, and the others are not.
    let roots: Vec<_> = (0..header_gate_config::ROOTS).map(|_| vm.open_root().unwrap()).collect();
    let taken = roots.iter().map(|root| vm.configure(*root, small("v", 403).as_bytes()).unwrap());
    let taken: Vec<_> = taken.collect();
    assert_eq!(taken.iter().filter(|taken| **taken).count(), header_gate_config::ROOTS - 1);
    assert_eq!(denied(&mut vm, *roots.last().unwrap(), Some(b"v")), 503);
    assert!(passes(&mut vm, roots[0], b"v") && passes(&mut vm, lasting, b"lasting"));
}

/// The steps with which an honest host hands a text over.
fn steps(text: &str) -> Vec<Step> {
    Reply::honest(Some(text.as_bytes())).steps
}

#[test]
fn a_configuration_counts_only_if_it_was_delivered_whole_to_memory_that_was_lent() {
    let text = small("true", 403);
    let size = text.len() as u32;
    let mut vm = plugin().start().unwrap();
    let honest = Reply::ok(steps(&text));
    let mut longer = steps(&text);
    longer[0] = Allocate(size + 1);
    let without = |n: usize| {
        let mut steps = steps(&text);
        steps.remove(n);
        Reply::ok(steps)
    };
    let with = |step: Step| Reply::ok(steps(&text)).then(step);
    for (about, lie) in [
        ("nothing", Reply::ok([])),
        ("not Ok", Reply { status: 1, ..honest.clone() }),
        ("no memory", without(0)),
        ("no bytes", without(1)),
        ("no address", without(2)),
        ("no size", without(3)),
        ("more memory", Reply::ok(longer)),
        ("a shorter size", with(Size(size - 1))),
        ("a longer size", with(Size(size + 1))),
        ("no address", with(Data(At(0)))),
        ("another address", with(Data(At(4096)))),
        ("an address outside", with(Data(At(REFUSED)))),
        ("memory twice", with(Allocate(size)).then(Data(Allocated(1)))),
        (
            "half of the bytes",
            Reply::ok([
                Allocate(size),
                Write(Allocated(0), text.as_bytes()[..text.len() / 2].to_vec()),
                Data(Allocated(0)),
                Size(size),
            ]),
        ),
    ] {
        assert!(!vm.configure_by(ROOT, text.as_bytes(), Some(lie.clone())).unwrap(), "{about}");
        assert_eq!(vm.log().len(), 1, "{about}");
        assert_eq!(denied(&mut vm, ROOT, Some(b"true")), 503, "{about}");
        // Nothing of it is there for the next one.
        assert!(!vm.configure_by(ROOT, text.as_bytes(), Some(without(1))).unwrap(), "{about}");
    }
    // Late: the host asks for memory when the module has stopped to wait.
    assert_eq!(vm.allocate(size).unwrap(), REFUSED);
    assert!(vm.configure_by(ROOT, text.as_bytes(), Some(honest)).unwrap());
    assert!(passes(&mut vm, ROOT, b"true"));
}

#[test]
fn a_callback_from_inside_another_one_is_refused() {
    let (own, other) = (small("true", 403), small("other", 403));
    let mut vm = plugin().start_configured(own.as_bytes()).unwrap();
    let configure = Call("proxy_on_configure", vec![ROOT, other.len() as u32]);
    // During the question for a configuration, and for a header.
    let mut reply = Reply::ok(steps(&own));
    reply.steps.insert(0, configure.clone());
    reply.steps.push(Call("proxy_on_request_headers", vec![2, 3, 1]));
    assert!(vm.configure_by(ROOT, own.as_bytes(), Some(reply)).unwrap());
    assert_eq!(vm.called(), [Some(0), Some(1)]);
    for (value, expected) in [("true", true), ("ture", false)] {
        let mut reply = Reply::ok(steps(value));
        reply.steps.insert(0, configure.clone());
        reply.steps.push(configure.clone());
        reply.steps.push(Call("proxy_on_request_headers", vec![2, 3, 1]));
        reply.steps.push(Call("proxy_on_context_create", vec![999, ROOT]));
        assert_eq!(vm.request_with(reply).unwrap().passes(), expected, "{value}");
        assert_eq!(vm.called(), [Some(0), Some(0), Some(1), Some(0)]);
    }
    assert!(passes(&mut vm, ROOT, b"true") && !passes(&mut vm, ROOT, b"other"));
}

/// `proxy_on_configure` is not followed by `gate build`: this is its bound, for the largest configurations of each kind.
#[test]
fn reading_a_configuration_takes_a_bounded_number_of_instructions() {
    let client = |n: usize| format!(r#"{{"id":"{n:019}","value":"{n:08}"}}"#);
    let clients: Vec<_> = (0..1000).map(client).collect();
    let clients = format!(
        r#"{{"header":"a","client_header":"b","client":[{}],"deny":{{"status":403}}}}"#,
        clients.join(",")
    );
    let hashed = clients.replacen(r#""value":"00000000""#, &format!(r#""sha256":"{:064}""#, 1), 1);
    let headers: Vec<_> = (0..500).map(|n| format!(r#"["x-{n:03}",""]"#)).collect();
    let headers =
        small("true", 403).replace("403", &format!(r#"403,"headers":[{}]"#, headers.join(",")));
    for (text, taken) in [
        (clients, true),
        (hashed, true),
        (headers, true),
        (" ".repeat(65_536), false),
        ("[".repeat(65_536), false),
        (small(&"\\u0041".repeat(10_900), 403), false),
    ] {
        let mut vm = plugin().start().unwrap();
        vm.open().unwrap();
        assert_eq!(vm.configure(ROOT, text.as_bytes()).unwrap(), taken, "{:?}", vm.log());
        assert!(vm.fuel() < 150_000_000, "{} of {}", vm.fuel(), &text[..30]);
    }
}

#[test]
fn other_headers_count_only_if_they_were_delivered_to_memory_that_was_lent() {
    let policy = small("true", 403).replace("\"deny\"", r#""except":{"paths":["/open/*"]},"deny""#);
    let mut vm = plugin().start_configured(policy.as_bytes()).unwrap();
    let path = "/open/door";
    let size = path.len() as u32;
    let mut ask = |reply: Reply| vm.request_answered(&[(":path", reply)]).unwrap().passes();
    let honest = Reply::honest(Some(path.as_bytes()));
    assert!(ask(honest.clone()));
    for lie in [
        Reply::ok([]),
        Reply { status: 2, ..honest.clone() },
        honest.clone().then(Size(size - 1)),
        honest.clone().then(Size(size + 1)),
        honest.clone().then(Data(At(0))),
        Reply::ok([Data(At(4)), Size(size)]),
        Reply::ok([Allocate(size), Data(Allocated(0)), Size(size)]),
        Reply::ok([Allocate(4097), Data(Allocated(0)), Size(4097)]),
    ] {
        assert!(!ask(lie.clone()), "{lie:?}");
        assert!(ask(honest.clone()));
    }
    assert_eq!(OK, 0);
}
