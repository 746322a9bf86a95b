//! The finished module against a host that lies, in every way the ABI lets it.
//!
//! A request may pass only if the host answered Ok and delivered, during this call, an accepted
//! value of exactly its length into the memory that it was lent.

mod support;

use std::sync::LazyLock;

use header_gate_cli::build::variant::Variant;
use header_gate_host::{Cost, LocalResponse, Outcome, Place, Reply, Vm};
use support::{denial, fronts, policies, policy, start};

const VALUE: &[u8] = b"true";
const PAUSE: i32 = 1;
/// `MapType::HttpRequestHeaders` of the specification.
const HTTP_REQUEST_HEADERS: u32 = 0;
static DENIAL: LazyLock<LocalResponse> = LazyLock::new(|| denial(&Variant::default()));

/// The default plugin, after a request that has left the accepted value in its memory.
fn vm_with_stale_value() -> Vm {
    let mut vm = start(&Variant::default());
    assert!(vm.request(Some(VALUE)).unwrap().passes());
    vm
}

fn lent(vm: &mut Vm) -> u32 {
    vm.allocate(4).unwrap()
}

#[track_caller]
fn assert_denied(outcome: &Outcome) {
    assert_eq!((outcome.action, outcome.response.as_ref()), (PAUSE, Some(&*DENIAL)));
}

/// Numbers that a careless comparison might mistake for another.
fn numbers() -> impl Iterator<Item = u32> {
    let shifted = (0..32).flat_map(|bit| {
        let power = 1u32 << bit;
        [power.wrapping_sub(1), power, power + 1, power | 4, u32::MAX - power]
    });
    (0..70_000).chain(shifted).chain([u32::MAX])
}

#[test]
fn the_honest_answers() {
    let mut vm = start(&Variant::default());
    for _ in 0..3 {
        assert!(vm.request(Some(VALUE)).unwrap().passes());
        assert_denied(&vm.request(None).unwrap());
        assert_denied(&vm.request(Some(b"")).unwrap());
        assert_denied(&vm.request(Some(b"TRUE")).unwrap());
    }
}

#[test]
fn the_policys_header_of_the_request_is_asked_for_and_nothing_else() {
    let (mut vm, policy) = (start(&Variant::default()), policy(&Variant::default()));
    for value in [Some(VALUE), Some(b"TRUE"), None] {
        let asked = vm.request(value).unwrap().asked;
        let asked: Vec<_> = asked.iter().map(|asked| (asked.map, &asked.key[..])).collect();
        assert_eq!(asked, [(HTTP_REQUEST_HEADERS, policy.header.as_bytes())]);
    }
}

#[test]
fn every_status_but_ok_denies() {
    let mut vm = vm_with_stale_value();
    for status in numbers().filter(|&status| status != 0) {
        assert_denied(&vm.request_with(Reply { status, ..Reply::honest(Some(VALUE)) }).unwrap());
        assert_denied(&vm.request_with(Reply { status, ..Reply::honest(None) }).unwrap());
    }
    assert!(vm.request(Some(VALUE)).unwrap().passes());
}

#[test]
fn every_size_but_the_true_one_denies() {
    let mut vm = vm_with_stale_value();
    for size in numbers().filter(|&size| size != 4) {
        let reply = Reply { size: Some(size), ..Reply::honest(Some(VALUE)) };
        assert_denied(&vm.request_with(reply).unwrap());
    }
}

#[test]
fn every_address_but_the_lent_one_denies() {
    let mut vm = vm_with_stale_value();
    let lent = lent(&mut vm);
    for address in numbers().filter(|&address| address != lent) {
        let reply = Reply { data: Some(Place::At(address)), ..Reply::honest(Some(VALUE)) };
        assert_denied(&vm.request_with(reply).unwrap());
        // The value really stands at the foreign address, and only there.
        let reply = Reply {
            write: vec![(Place::At(address), VALUE.to_vec())],
            data: Some(Place::At(address)),
            ..Reply::honest(Some(VALUE))
        };
        // Not over the module's own answer: what a host destroys there, it destroys.
        if !(lent..lent + 256).contains(&address) {
            assert_denied(&vm.request_with(reply).unwrap());
        }
    }
}

#[test]
fn two_wrongs_do_not_make_up_for_each_other() {
    let mut vm = vm_with_stale_value();
    let lent = lent(&mut vm);
    for value in [VALUE, b"TRUE"] {
        for wrong in numbers().filter(|&number| number != 0) {
            let data = Some(Place::At(lent ^ wrong));
            for status in [wrong, 1] {
                let reply = Reply { data, status, ..Reply::honest(Some(value)) };
                assert_denied(&vm.request_with(reply).unwrap());
            }
        }
    }
    let honest = Reply::honest(Some(b"TRUE"));
    for one in 0..32 {
        assert_denied(&vm.request_with(Reply { status: 1 << one, ..honest.clone() }).unwrap());
        let data = Some(Place::At(lent ^ (1 << one)));
        assert_denied(&vm.request_with(Reply { data, ..honest.clone() }).unwrap());
    }
}

#[test]
fn what_an_earlier_request_left_denies() {
    let mut vm = vm_with_stale_value();
    let lent = Place::At(lent(&mut vm));
    let honest = Reply::honest(Some(VALUE));
    let lies = [
        // Ok, and nothing else.
        Reply { allocate: vec![], write: vec![], data: None, size: None, ..honest.clone() },
        // The right address and size, but no value, with and without a call of the allocator.
        Reply { allocate: vec![], write: vec![], data: Some(lent), ..honest.clone() },
        Reply { write: vec![], ..honest.clone() },
        // The value, but not its address; the value, but not its size.
        Reply { data: None, ..honest.clone() },
        Reply { size: None, ..honest.clone() },
    ];
    for lie in lies {
        assert!(vm.request(Some(VALUE)).unwrap().passes());
        assert_denied(&vm.request_with(lie.clone()).unwrap());
        assert_denied(&vm.request_with(lie).unwrap());
    }
    // Each byte of the value in turn is the one that the host does not deliver.
    for at in 0..VALUE.len() {
        assert!(vm.request(Some(VALUE)).unwrap().passes());
        let Place::At(address) = lent else { unreachable!() };
        let write = (0..VALUE.len()).filter(|&i| i != at);
        let write = write.map(|i| (Place::At(address + i as u32), vec![VALUE[i]])).collect();
        assert_denied(&vm.request_with(Reply { write, ..honest.clone() }).unwrap());
    }
}

#[test]
fn a_value_that_is_there_before_the_call_denies() {
    let mut vm = start(&Variant::default());
    let lent = lent(&mut vm) as usize;
    vm.memory_mut()[lent..lent + 4].copy_from_slice(VALUE);
    let reply = Reply { allocate: vec![], write: vec![], ..Reply::honest(Some(VALUE)) };
    let reply = Reply { data: Some(Place::At(lent as u32)), ..reply };
    assert_denied(&vm.request_with(reply).unwrap());
}

#[test]
fn only_the_size_of_an_accepted_value_is_lent() {
    let mut vm = start(&Variant::default());
    let lent = lent(&mut vm);
    assert!(lent > 0);
    for size in numbers() {
        let address = vm.allocate(size).unwrap();
        if size == 4 {
            assert_eq!(address, lent);
        } else {
            assert!(address as usize >= vm.memory().len(), "{size}: {address}");
            assert!(address.cast_signed() > 0, "{size}: {address} is negative as an i32");
        }
    }
}

#[test]
fn allocations_at_odd_moments_change_nothing() {
    let mut vm = start(&Variant::default());
    for sizes in [vec![], vec![4], vec![4, 4, 4], vec![0, 5, u32::MAX, 4], vec![4, 50_000]] {
        let Some(last) = sizes.iter().position(|&size| size == 4) else { continue };
        let reply = Reply {
            allocate: sizes,
            write: vec![(Place::Allocated(last), VALUE.to_vec())],
            data: Some(Place::Allocated(last)),
            ..Reply::honest(Some(VALUE))
        };
        assert!(vm.request_with(reply).unwrap().passes());
        vm.allocate(4).unwrap();
        vm.allocate(9).unwrap();
        assert_denied(&vm.request(None).unwrap());
    }
}

#[test]
fn a_huge_value_reaches_no_memory() {
    let mut vm = start(&Variant::default());
    let before = vm.memory().to_vec();
    for size in [5, 4096, 50_000, 65_536, 1 << 20] {
        assert_denied(&vm.request(Some(&vec![0xa5; size])).unwrap());
        assert!(vm.memory() == before, "{size} bytes");
    }
}

#[test]
fn nothing_but_the_lent_buffer_and_the_result_words_changes() {
    let mut vm = start(&Variant::default());
    let before = vm.memory().to_vec();
    let lent = lent(&mut vm) as usize;
    for value in [Some(VALUE), Some(b"TRUE"), Some(b""), None, Some(b"longer than lent")] {
        vm.request(value).unwrap();
        // Four bytes of value, then its size, then its address.
        assert_eq!(vm.memory()[..lent], before[..lent]);
        assert_eq!(vm.memory()[lent + 12..], before[lent + 12..]);
    }
}

#[test]
fn a_refused_answer_leaves_the_request_stopped() {
    let mut vm = start(&Variant::default());
    for other_status in numbers().filter(|&status| status != 0) {
        let outcome = vm.request_with(Reply { other_status, ..Reply::default() }).unwrap();
        assert_eq!((outcome.action, outcome.response), (PAUSE, None));
    }
}

#[test]
fn a_refused_log_line_changes_no_decision() {
    let mut vm = start(&Variant::log());
    for other_status in numbers().filter(|&status| status != 0) {
        let refused = |reply| Reply { other_status, ..reply };
        let good = vm.request_with(refused(Reply::honest(Some(VALUE)))).unwrap();
        assert!(good.passes() && good.log.len() == 1, "{good:?}");
        // The answer is refused as well.
        let bad = vm.request_with(refused(Reply::default())).unwrap();
        assert_eq!((bad.action, bad.response, bad.log.len()), (PAUSE, None, 2));
    }
    assert!(vm.request(Some(VALUE)).unwrap().passes());
}

#[test]
fn interleaved_requests_do_not_mix() {
    for variant in fronts() {
        let mut vm = start(&variant);
        let contexts: Vec<u32> = (0..5_000).map(|_| vm.open().unwrap()).collect();
        for &context in contexts.iter().rev() {
            let good = context % 3 == 0;
            let value: Option<&[u8]> = if good { Some(VALUE) } else { None };
            let outcome = vm.headers(context, Reply::honest(value)).unwrap();
            assert_eq!(outcome.passes(), good, "{variant:?}, context {context}");
        }
        contexts.into_iter().for_each(|context| vm.close(context).unwrap());
    }
}

#[test]
fn a_request_costs_what_the_abi_floor_is_and_memory_never_grows() {
    let mut vm = start(&Variant::default());
    let pages = vm.memory().len();
    assert_eq!(pages, 64 * 1024);
    let mut cost = |value: Option<&[u8]>| {
        let cost = vm.request(value).unwrap().cost;
        assert_eq!(vm.memory().len(), pages);
        Cost { fuel: 0, ..cost }
    };
    let expected =
        |allocations, host_calls| Cost { callbacks: 1, allocations, host_calls, fuel: 0 };
    for _ in 0..1_000 {
        assert_eq!(cost(Some(VALUE)), expected(1, 1));
        assert_eq!(cost(Some(b"TRUE")), expected(1, 2));
        assert_eq!(cost(Some(b"longer")), expected(1, 2));
        assert_eq!(cost(Some(b"")), expected(0, 2));
        assert_eq!(cost(None), expected(0, 2));
    }
}

#[test]
fn time_does_not_tell_where_a_value_differs() {
    for variant in [Variant::default()].into_iter().chain(policies()) {
        let (mut vm, policy, name) = (start(&variant), policy(&variant), variant.name());
        for value in policy.values.iter().map(String::as_bytes) {
            let fuel = |vm: &mut Vm, value: &[u8]| vm.request(Some(value)).unwrap().cost.fuel;
            let expected = fuel(&mut vm, &vec![b'X'; value.len()]);
            for at in 0..value.len() {
                let mut other = value.to_vec();
                other[at] ^= 1;
                assert_eq!(fuel(&mut vm, &other), expected, "{name}: byte {at}");
            }
        }
        // Nor which of several accepted values a request carries.
        let mut fuel = policy.values.iter().map(|v| vm.request(Some(v.as_bytes())).unwrap().cost);
        let first = fuel.next().unwrap();
        assert!(fuel.all(|cost| cost == first), "{name}");
    }
}
