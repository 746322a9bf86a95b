//! The finished module against a host that lies in every way that the ABI allows.
//!
//! A request may pass only if the host returned Ok and delivered, during this call, an accepted value
//! of exactly its length into the memory that it was lent.

mod support;

use header_gate_cli::build::variant::Variant;
use header_gate_host::Place::{Allocated, At};
use header_gate_host::Step::{Allocate, Data, Size, Write};
use header_gate_host::{LocalResponse, OK, Outcome, Place, Plugin, Reply, Step, Vm};
use support::{REFUSED, abi_builds, denial, module, near_powers, policy, root, start};

const VALUE: &[u8] = b"true";
const PAUSE: u32 = 1;
/// `MapType::HttpRequestHeaders` of the specification.
const HTTP_REQUEST_HEADERS: u32 = 0;
/// Bytes of the memory that the module asks for.
const PAGE: usize = 64 * 1024;

/// The default plugin, its denial, and the address of the buffer that it lends.
struct Gate {
    vm: Vm,
    denial: LocalResponse,
    lent: u32,
    /// One in so many addresses is tried.
    thin: usize,
}

impl Gate {
    fn new() -> Self {
        Self::of(&module(&Variant::default()))
    }

    fn of(module: &[u8]) -> Self {
        let mut vm = Plugin::new(module).unwrap().start().unwrap();
        let lent = vm.allocate(4).unwrap();
        Self { vm, denial: denial(&Variant::default()), lent, thin: 1 }
    }

    /// Calls `test` with a gate, and with one whose memory is larger than the module asks for: WAMR appends a heap to
    /// it.
    fn everywhere(test: fn(&mut Self)) {
        const ONE_PAGE: &[u8] = &[5, 4, 1, 1, 1, 1];
        let module = module(&Variant::default());
        let at = module.windows(ONE_PAGE.len()).position(|section| section == ONE_PAGE).unwrap();
        test(&mut Self::of(&module));
        let mut larger = module;
        larger[at + 4..][..2].fill(2);
        let mut gate = Self { thin: 199, ..Self::of(&larger) };
        assert_eq!(gate.vm.memory().len(), 2 * PAGE);
        test(&mut gate);
    }

    /// Numbers that a careless comparison might take for another: all addresses of the page, or one in so many.
    fn numbers(&self) -> impl Iterator<Item = u32> + use<> {
        let near = near_powers().flat_map(|number| [number, number | 4, !number]);
        let all = (0..70_000).step_by(self.thin);
        all.chain(near).chain([PAGE as u32 + 4, REFUSED])
    }

    /// Leaves the accepted value of an earlier request in memory.
    fn stale(&mut self) -> &mut Self {
        self.passes(honest());
        self
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

/// Writes the accepted value.
fn write(place: Place) -> Step {
    Write(place, VALUE.to_vec())
}

#[test]
fn only_the_header_of_the_policy_is_read() {
    let (mut gate, policy) = (Gate::new(), policy(&Variant::default()));
    for value in [Some(VALUE), Some(b"TRUE"), None] {
        let asked = gate.vm.request(value).unwrap().asked;
        assert_eq!(asked, [(HTTP_REQUEST_HEADERS, policy.header.clone().into())]);
    }
}

#[test]
fn every_wrong_status_size_or_address_denies() {
    Gate::everywhere(|gate| {
        gate.stale();
        let lent = gate.lent;
        for number in gate.numbers() {
            if number != OK {
                gate.denies(Reply { status: number, ..honest() });
                gate.denies(Reply { status: number, ..Reply::default() });
            }
            if number != 4 {
                gate.denies(honest().then(Size(number)));
            }
            if number != lent {
                gate.denies(honest().then(Data(At(number))));
            }
            // The value is at the wrong address only. Not over the module's own constants: a host that
            // overwrites these changes the denial.
            if !(lent..lent + 256).contains(&number) {
                let place = At(number);
                gate.denies(Reply::ok([Allocate(4), write(place), Data(place), Size(4)]));
            }
        }
        gate.passes(honest());
    });
}

#[test]
fn several_errors_do_not_cancel_out() {
    Gate::everywhere(|gate| {
        gate.stale();
        let lent = gate.lent;
        let other = Reply::honest(Some(b"TRUE"));
        let off = |reply: &Reply, wrong, status| Reply {
            status,
            ..reply.clone().then(Data(At(lent ^ wrong)))
        };
        for wrong in (0..32).map(|bit| 1 << bit) {
            gate.denies(Reply { status: wrong, ..other.clone() });
            gate.denies(off(&other, wrong, OK));
        }
        for wrong in gate.numbers().filter(|&number| number != 0) {
            for reply in [&honest(), &other] {
                gate.denies(off(reply, wrong, wrong));
                gate.denies(off(reply, wrong, 1));
            }
        }
    });
}

#[test]
fn the_value_of_an_earlier_request_denies() {
    Gate::everywhere(|gate| {
        gate.stale();
        let (lent, place) = (At(gate.lent), Allocated(0));
        let mut lies = vec![
            // Ok, and nothing else.
            Reply::default(),
            // The right address and size, but no value, without and with a call of the allocator.
            Reply::ok([Data(lent), Size(4)]),
            Reply::ok([Allocate(4), Data(place), Size(4)]),
            // The value, but not its address; the value, but not its size.
            Reply::ok([Allocate(4), write(place), Size(4)]),
            Reply::ok([Allocate(4), write(place), Data(place)]),
        ];
        // All bytes of the value but one.
        lies.extend((0..VALUE.len()).map(|missing| {
            let bytes = (0..VALUE.len()).filter(|&at| at != missing);
            let bytes = bytes.map(|at| Write(At(gate.lent + at as u32), vec![VALUE[at]]));
            let steps = [Allocate(4), Data(place), Size(4)].into_iter().chain(bytes);
            Reply::ok(steps.collect::<Vec<_>>())
        }));
        for lie in lies {
            gate.passes(honest());
            gate.denies(lie.clone());
            gate.denies(lie);
        }
    });
}

#[test]
fn memory_is_lent_only_for_the_size_of_an_accepted_value() {
    Gate::everywhere(|gate| {
        assert!(gate.lent > 0 && (gate.lent as usize) < PAGE);
        for size in gate.numbers() {
            let expected = if size == 4 { gate.lent } else { REFUSED };
            assert_eq!(gate.vm.allocate(size).unwrap(), expected, "{size} bytes");
        }
    });
}

#[test]
fn allocations_at_any_time_change_nothing() {
    Gate::everywhere(|gate| {
        for (sizes, last) in
            [(&[4][..], 0), (&[4, 4, 4], 0), (&[0, 5, u32::MAX, 4], 3), (&[4, 50_000], 0)]
        {
            let place = Allocated(last);
            let steps = sizes.iter().map(|&size| Allocate(size));
            let steps = steps.chain([write(place), Data(place), Size(4)]);
            gate.passes(Reply::ok(steps.collect::<Vec<_>>()));
            gate.vm.allocate(4).unwrap();
            gate.vm.allocate(9).unwrap();
            gate.denies(Reply::honest(None));
        }
    });
}

#[test]
fn the_host_writes_only_the_lent_buffer_and_the_result_words() {
    Gate::everywhere(|gate| {
        let (before, lent) = (gate.vm.memory().to_vec(), gate.lent as usize);
        for size in [0, 3, 4, 5, 4096, 50_000, 65_536, 1 << 20] {
            gate.denies(Reply::honest(Some(&vec![0xa5; size])));
            let after = gate.vm.memory();
            assert!(size == 4 || after == before, "a value of {size} bytes");
            // Four bytes of value, then its size, then its address.
            assert!(after[..lent] == before[..lent] && after[lent + 12..] == before[lent + 12..]);
        }
    });
}

#[test]
fn a_refused_denial_or_log_line_changes_no_decision() {
    for (variant, lines) in abi_builds().into_iter().zip([0, 1]) {
        let mut vm = start(&variant);
        for other_status in Gate::new().numbers().filter(|&status| status != OK) {
            let good = vm.request_with(Reply { other_status, ..honest() }).unwrap();
            assert!(good.passes() && good.log.len() == lines, "{good:?}");
            let bad = vm.request_with(Reply { other_status, ..Reply::honest(None) }).unwrap();
            assert_eq!((bad.action, bad.response, bad.log.len()), (PAUSE, None, 2 * lines));
        }
    }
}

#[test]
fn interleaved_requests_are_decided_independently() {
    for variant in abi_builds() {
        let mut vm = start(&variant);
        let contexts: Vec<u32> = (0..5_000).map(|_| vm.open().unwrap()).collect();
        for &context in contexts.iter().rev() {
            let good = context % 3 == 0;
            let outcome = vm.headers(context, Reply::honest(good.then_some(VALUE))).unwrap();
            assert_eq!(outcome.passes(), good, "{}, context {context}", variant.name());
        }
        contexts.into_iter().for_each(|context| vm.close(context).unwrap());
    }
}

#[test]
fn a_decision_takes_the_same_instructions_wherever_a_value_differs() {
    let policies = Variant::policies(root()).unwrap();
    for variant in [Variant::default()].into_iter().chain(policies) {
        let (mut vm, policy, name) = (start(&variant), policy(&variant), variant.name());
        let mut fuel = |value: &[u8]| vm.request(Some(value)).unwrap().cost.fuel;
        let accepted = policy.accepted();
        let first = fuel(accepted[0].as_bytes());
        for value in accepted.iter().map(|value| value.as_bytes()) {
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
