//! The finished module against a host that lies in every way that the ABI allows.
//!
//! A request may pass only if the host returned Ok and delivered, during this call, an accepted value
//! of exactly its length into the memory that it was lent.

mod support;

use header_gate_cli::build::variant::Variant;
use header_gate_host::{LocalResponse, OK, Outcome, Place, Reply, Vm};
use support::{abi_builds, denial, policies, policy, sdk_builds, start};

const VALUE: &[u8] = b"true";
const PAUSE: i32 = 1;
/// `MapType::HttpRequestHeaders` of the specification.
const HTTP_REQUEST_HEADERS: u32 = 0;
/// The address that refuses an allocation: outside memory on every engine, and positive as an i32.
const REFUSED: u32 = 0x7fff_0000;

/// The default plugin, its denial, and the address of the buffer that it lends.
struct Gate {
    vm: Vm,
    denial: LocalResponse,
    lent: u32,
}

impl Gate {
    fn new() -> Self {
        let variant = Variant::default();
        let mut vm = start(&variant);
        let lent = vm.allocate(4).unwrap();
        Self { vm, denial: denial(&variant), lent }
    }

    /// A gate with the accepted value of an earlier request in its memory.
    fn stale() -> Self {
        let mut gate = Self::new();
        gate.passes(Reply::honest(Some(VALUE)));
        gate
    }

    #[track_caller]
    fn passes(&mut self, reply: Reply) {
        assert!(self.vm.request_with(reply).unwrap().passes());
    }

    #[track_caller]
    fn denies(&mut self, reply: Reply) {
        let Outcome { action, response, .. } = self.vm.request_with(reply.clone()).unwrap();
        assert_eq!((action, response.as_ref()), (PAUSE, Some(&self.denial)), "{reply:?}");
    }
}

fn honest() -> Reply {
    Reply::honest(Some(VALUE))
}

/// Numbers that a careless comparison might take for another.
fn numbers() -> impl Iterator<Item = u32> {
    let near_powers = (0..32).flat_map(|bit| {
        let power = 1u32 << bit;
        [power.wrapping_sub(1), power, power + 1, power | 4, u32::MAX - power]
    });
    (0..70_000).chain(near_powers).chain([REFUSED, u32::MAX])
}

#[test]
fn only_the_policys_header_of_the_request_is_read() {
    let (mut gate, policy) = (Gate::new(), policy(&Variant::default()));
    for value in [Some(VALUE), Some(b"TRUE"), None] {
        let asked = gate.vm.request(value).unwrap().asked;
        let asked: Vec<_> = asked.iter().map(|asked| (asked.map, &asked.key[..])).collect();
        assert_eq!(asked, [(HTTP_REQUEST_HEADERS, policy.header.as_bytes())]);
    }
}

#[test]
fn every_wrong_status_size_or_address_denies() {
    let mut gate = Gate::stale();
    let lent = gate.lent;
    for number in numbers() {
        if number != OK {
            gate.denies(Reply { status: number, ..honest() });
            gate.denies(Reply { status: number, ..Reply::default() });
        }
        if number != 4 {
            gate.denies(Reply { size: Some(number), ..honest() });
        }
        let place = Place::At(number);
        if number != lent {
            gate.denies(Reply { data: Some(place), ..honest() });
        }
        // The value is at the wrong address only. Not over the module's own constants: a host that
        // overwrites these changes the denial.
        if !(lent..lent + 256).contains(&number) {
            let write = vec![(place, VALUE.to_vec())];
            gate.denies(Reply { write, data: Some(place), ..honest() });
        }
    }
    gate.passes(honest());
}

#[test]
fn several_errors_do_not_cancel_out() {
    let mut gate = Gate::stale();
    let off = |wrong| Some(Place::At(gate.lent ^ wrong));
    let other = Reply::honest(Some(b"TRUE"));
    let single = (0..32).map(|bit| 1 << bit).flat_map(|wrong| {
        [Reply { status: wrong, ..other.clone() }, Reply { data: off(wrong), ..other.clone() }]
    });
    let double = numbers().filter(|&number| number != 0).flat_map(|wrong| {
        [(honest(), wrong), (honest(), 1), (other.clone(), wrong), (other.clone(), 1)]
            .map(|(reply, status)| Reply { data: off(wrong), status, ..reply })
    });
    let lies: Vec<_> = single.chain(double).collect();
    lies.into_iter().for_each(|lie| gate.denies(lie));
}

#[test]
fn the_value_of_an_earlier_request_denies() {
    let mut gate = Gate::stale();
    let lent = Place::At(gate.lent);
    let silent = Reply { allocate: vec![], write: vec![], ..honest() };
    let mut lies = vec![
        // Ok, and nothing else.
        Reply { data: None, size: None, ..silent.clone() },
        // The right address and size, but no value, without and with a call of the allocator.
        Reply { data: Some(lent), ..silent },
        Reply { write: vec![], ..honest() },
        // The value, but not its address; the value, but not its size.
        Reply { data: None, ..honest() },
        Reply { size: None, ..honest() },
    ];
    // All bytes of the value but one.
    lies.extend((0..VALUE.len()).map(|missing| {
        let write = (0..VALUE.len()).filter(|&at| at != missing);
        let write = write.map(|at| (Place::At(gate.lent + at as u32), vec![VALUE[at]])).collect();
        Reply { write, ..honest() }
    }));
    for lie in lies {
        gate.passes(honest());
        gate.denies(lie.clone());
        gate.denies(lie);
    }
}

#[test]
fn memory_is_lent_only_for_the_size_of_an_accepted_value() {
    let mut gate = Gate::new();
    assert!(gate.lent > 0 && (gate.lent as usize) < gate.vm.memory().len());
    for size in numbers() {
        let expected = if size == 4 { gate.lent } else { REFUSED };
        assert_eq!(gate.vm.allocate(size).unwrap(), expected, "{size} bytes");
    }
}

#[test]
fn allocations_at_any_time_change_nothing() {
    let mut gate = Gate::new();
    for (allocate, last) in
        [(vec![4], 0), (vec![4, 4, 4], 0), (vec![0, 5, u32::MAX, 4], 3), (vec![4, 50_000], 0)]
    {
        let place = Place::Allocated(last);
        let write = vec![(place, VALUE.to_vec())];
        gate.passes(Reply { allocate, write, data: Some(place), ..honest() });
        gate.vm.allocate(4).unwrap();
        gate.vm.allocate(9).unwrap();
        gate.denies(Reply::default());
    }
}

#[test]
fn the_host_writes_only_the_lent_buffer_and_the_result_words() {
    let mut gate = Gate::new();
    let (before, lent) = (gate.vm.memory().to_vec(), gate.lent as usize);
    for size in [0, 3, 4, 5, 4096, 50_000, 65_536, 1 << 20] {
        gate.denies(Reply::honest(Some(&vec![0xa5; size])));
        let after = gate.vm.memory();
        assert!(size == 4 || after == before, "a value of {size} bytes");
        // Four bytes of value, then its size, then its address.
        assert!(after[..lent] == before[..lent] && after[lent + 12..] == before[lent + 12..]);
    }
}

#[test]
fn a_refused_denial_or_log_line_changes_no_decision() {
    for (variant, lines) in abi_builds().into_iter().zip([0, 1]) {
        let mut vm = start(&variant);
        for other_status in numbers().filter(|&status| status != OK) {
            let good = vm.request_with(Reply { other_status, ..honest() }).unwrap();
            assert!(good.passes() && good.log.len() == lines, "{good:?}");
            let bad = vm.request_with(Reply { other_status, ..Reply::default() }).unwrap();
            assert_eq!((bad.action, bad.response, bad.log.len()), (PAUSE, None, 2 * lines));
        }
    }
}

#[track_caller]
fn decides_interleaved_requests(variant: &Variant) {
    let mut vm = start(variant);
    let contexts: Vec<u32> = (0..5_000).map(|_| vm.open().unwrap()).collect();
    for &context in contexts.iter().rev() {
        let good = context % 3 == 0;
        let outcome = vm.headers(context, Reply::honest(good.then_some(VALUE))).unwrap();
        assert_eq!(outcome.passes(), good, "{}, context {context}", variant.name());
    }
    contexts.into_iter().for_each(|context| vm.close(context).unwrap());
}

#[test]
fn interleaved_requests_are_decided_independently() {
    abi_builds().iter().for_each(decides_interleaved_requests);
}

#[test]
fn interleaved_requests_are_decided_independently_by_sdk_builds() {
    sdk_builds().iter().for_each(decides_interleaved_requests);
}

#[test]
fn a_decision_takes_the_same_instructions_wherever_a_value_differs() {
    for variant in [Variant::default()].into_iter().chain(policies()) {
        let (mut vm, policy, name) = (start(&variant), policy(&variant), variant.name());
        let mut fuel = |value: &[u8]| vm.request(Some(value)).unwrap().cost.fuel;
        let first = fuel(policy.values[0].as_bytes());
        for value in policy.values.iter().map(String::as_bytes) {
            let expected = fuel(&vec![b'X'; value.len()]);
            for at in 0..value.len() {
                let mut other = value.to_vec();
                other[at] ^= 1;
                assert_eq!(fuel(&other), expected, "{name}: byte {at}");
            }
            // Nor does it depend on which accepted value a request has.
            assert_eq!(fuel(value), first, "{name}");
        }
    }
}
