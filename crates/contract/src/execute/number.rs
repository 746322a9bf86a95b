//! Instructions on numbers, locals and memory.

use wasmparser::{MemArg, Operator};

use super::Machine;
use super::state::{Condition, Conditions, State, Value, joined};
use crate::interval::{BOOL, Interval, Relation, Width};

/// What an instruction on numbers does.
enum Number {
    Constant(u64),
    Compare(Relation, Sides),
    /// A comparison of signed numbers, which is the unsigned one if both are small.
    Signed(Relation, Sides, Width),
    IsZero,
    Calculate(fn(Interval, Interval, Width) -> Interval, Width),
    /// Of 32 bits. What is left of a local often selects a branch.
    Subtract,
    /// Traps if the divisor is 0.
    Divide(fn(Interval, Interval) -> Option<Interval>),
    And,
    Or,
    /// Any number, of as many operands.
    Any(usize, Width),
    /// A number of 64 bits becomes one of 32.
    Wrap,
    Same,
    Load(MemArg, u64, Interval),
    Store(MemArg, u64),
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sides {
    AsTheyAre,
    Exchanged,
}

fn number(operator: &Operator<'_>) -> Number {
    use Number as N;
    use Operator as Op;
    use Relation::{Eq, Le, Lt, Ne};
    use Sides::{AsTheyAre, Exchanged};
    use Width::{W32, W64};

    match *operator {
        Op::I32Const { value } => N::Constant(value.cast_unsigned().into()),
        Op::I64Const { value } => N::Constant(value.cast_unsigned()),
        Op::I32Eqz | Op::I64Eqz => N::IsZero,
        Op::I32Eq | Op::I64Eq => N::Compare(Eq, AsTheyAre),
        Op::I32Ne | Op::I64Ne => N::Compare(Ne, AsTheyAre),
        Op::I32LtU | Op::I64LtU => N::Compare(Lt, AsTheyAre),
        Op::I32LeU | Op::I64LeU => N::Compare(Le, AsTheyAre),
        Op::I32GtU | Op::I64GtU => N::Compare(Lt, Exchanged),
        Op::I32GeU | Op::I64GeU => N::Compare(Le, Exchanged),
        Op::I32LtS => N::Signed(Lt, AsTheyAre, W32),
        Op::I32LeS => N::Signed(Le, AsTheyAre, W32),
        Op::I32GtS => N::Signed(Lt, Exchanged, W32),
        Op::I32GeS => N::Signed(Le, Exchanged, W32),
        Op::I64LtS => N::Signed(Lt, AsTheyAre, W64),
        Op::I64LeS => N::Signed(Le, AsTheyAre, W64),
        Op::I64GtS => N::Signed(Lt, Exchanged, W64),
        Op::I64GeS => N::Signed(Le, Exchanged, W64),
        Op::I32Add => N::Calculate(Interval::add, W32),
        Op::I32Sub => N::Subtract,
        Op::I32Mul => N::Calculate(Interval::mul, W32),
        Op::I32Shl => N::Calculate(Interval::shl, W32),
        Op::I32ShrU => N::Calculate(Interval::shr, W32),
        Op::I64Add => N::Calculate(Interval::add, W64),
        Op::I64Sub => N::Calculate(Interval::sub, W64),
        Op::I64Mul => N::Calculate(Interval::mul, W64),
        Op::I64Shl => N::Calculate(Interval::shl, W64),
        Op::I64ShrU => N::Calculate(Interval::shr, W64),
        Op::I32Xor | Op::I64Xor => N::Calculate(|a, b, _| a.xor(b), W64),
        Op::I32And | Op::I64And => N::And,
        Op::I32Or | Op::I64Or => N::Or,
        Op::I32DivU | Op::I64DivU => N::Divide(Interval::div),
        Op::I32RemU | Op::I64RemU => N::Divide(Interval::rem),
        Op::I32ShrS | Op::I32Rotl | Op::I32Rotr => N::Any(2, W32),
        Op::I64ShrS | Op::I64Rotl | Op::I64Rotr => N::Any(2, W64),
        Op::I32Clz | Op::I32Ctz | Op::I32Popcnt | Op::I32Extend8S | Op::I32Extend16S => {
            N::Any(1, W32)
        }
        Op::I64Clz | Op::I64Ctz | Op::I64Popcnt | Op::I64ExtendI32S => N::Any(1, W64),
        Op::MemorySize { .. } | Op::GlobalGet { .. } => N::Any(0, W64),
        Op::MemoryGrow { .. } => N::Any(1, W32),
        Op::I32WrapI64 => N::Wrap,
        Op::I64ExtendI32U => N::Same,
        _ => memory(operator),
    }
}

fn memory(operator: &Operator<'_>) -> Number {
    use Number as N;
    use Operator as Op;
    use Width::{W32, W64};

    let bytes = |size: u64| Interval { lo: 0, hi: u64::MAX >> (64 - 8 * size) };
    match *operator {
        Op::I32Load { memarg } | Op::I64Load32U { memarg } => N::Load(memarg, 4, bytes(4)),
        Op::I64Load { memarg } => N::Load(memarg, 8, bytes(8)),
        Op::I32Load8U { memarg } | Op::I64Load8U { memarg } => N::Load(memarg, 1, bytes(1)),
        Op::I32Load16U { memarg } | Op::I64Load16U { memarg } => N::Load(memarg, 2, bytes(2)),
        Op::I32Load8S { memarg } => N::Load(memarg, 1, W32.any()),
        Op::I32Load16S { memarg } => N::Load(memarg, 2, W32.any()),
        Op::I64Load8S { memarg } => N::Load(memarg, 1, W64.any()),
        Op::I64Load16S { memarg } => N::Load(memarg, 2, W64.any()),
        Op::I64Load32S { memarg } => N::Load(memarg, 4, W64.any()),
        Op::I32Store8 { memarg } | Op::I64Store8 { memarg } => N::Store(memarg, 1),
        Op::I32Store16 { memarg } | Op::I64Store16 { memarg } => N::Store(memarg, 2),
        Op::I32Store { memarg } | Op::I64Store32 { memarg } => N::Store(memarg, 4),
        Op::I64Store { memarg } => N::Store(memarg, 8),
        _ => N::Unknown,
    }
}

/// The comparison of two values.
fn compare(relation: Relation, [mut a, b]: [Value; 2]) -> Value {
    let interval = a.interval.compare(relation, b.interval);
    let equality = matches!(relation, Relation::Eq | Relation::Ne);
    if a.conditions.is_some() && equality && b.interval == Interval::point(0) {
        // Of a comparison with 0: the opposite conditions, or the same ones.
        let Conditions { if_true, if_false } = a.conditions();
        return match relation {
            Relation::Eq => Value::new(interval, if_false, if_true),
            _ => Value::new(interval, if_true, if_false),
        };
    }
    if a.local.is_none() && b.local.is_none() {
        return interval.into();
    }
    let sides = [(a.local, a.interval), (b.local, b.interval)];
    let (opposite, exchanged) = relation.negated();
    let others = if exchanged { [sides[1], sides[0]] } else { sides };
    let if_true = vec![Condition { relation, sides }];
    Value::new(interval, if_true, vec![Condition { relation: opposite, sides: others }])
}

impl Machine<'_> {
    /// Executes an instruction that does not jump.
    pub(super) fn number(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let Some(mut state) = self.state.take() else { return Ok(()) };
        match operator {
            Operator::Nop => {}
            Operator::Drop => {
                state.pop();
            }
            Operator::LocalGet { local_index } => {
                let interval = state.locals[*local_index as usize];
                state.push(Value { local: Some(*local_index), ..interval.into() });
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let mut value = state.pop();
                state.set(*local_index, &mut value);
                if matches!(operator, Operator::LocalTee { .. }) {
                    state.push(Value { local: Some(*local_index), ..value });
                }
            }
            Operator::GlobalSet { .. } => {
                state.pop();
            }
            Operator::Select => {
                self.state = Some(state);
                return self.select();
            }
            _ => {
                self.state = Some(state);
                return self.calculate(operator);
            }
        }
        self.state = Some(state);
        Ok(())
    }

    fn select(&mut self) -> Result<(), String> {
        let [first, second] = self.branch();
        let taken = |state: Option<State>, first: bool| {
            state.map(|mut state| {
                let [b, a] = [state.pop(), state.pop()];
                let value = if first { a.interval } else { b.interval };
                state.push(value);
                state
            })
        };
        self.state = joined(taken(first, true), taken(second, false));
        Ok(())
    }

    fn calculate(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        let Some(mut state) = self.state.take() else { return Ok(()) };
        match number(operator) {
            Number::Divide(result) => {
                let [b, a] = [state.pop(), state.pop()];
                let result = result(a.interval, b.interval);
                if result.is_none() {
                    self.trap("division by 0");
                }
                state.push(result.unwrap_or(Width::W64.any()));
            }
            Number::Load(argument, size, interval) => {
                self.access(state.pop().interval, &argument, size, "load");
                state.push(interval);
            }
            Number::Store(argument, size) => {
                let [_, address] = [state.pop(), state.pop()];
                self.access(address.interval, &argument, size, "store");
            }
            Number::Unknown => {
                let name = format!("{operator:?}");
                let name = name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
                return Err(self.unknown(&format!("instruction {name}, which is not analysed,")));
            }
            number => state.calculate(number),
        }
        self.state = Some(state);
        Ok(())
    }
}

impl State {
    /// Replaces operands by the result of an instruction that cannot trap.
    fn calculate(&mut self, number: Number) {
        let result: Value = match number {
            Number::Constant(value) => Interval::point(value).into(),
            Number::IsZero => compare(Relation::Eq, [self.pop(), Interval::point(0).into()]),
            Number::Compare(relation, sides) => {
                let [b, a] = [self.pop(), self.pop()];
                compare(relation, if sides == Sides::Exchanged { [b, a] } else { [a, b] })
            }
            Number::Signed(relation, sides, width) => {
                let [b, a] = [self.pop(), self.pop()];
                if a.interval.hi.max(b.interval.hi) > width.mask() / 2 {
                    BOOL.into()
                } else {
                    compare(relation, if sides == Sides::Exchanged { [b, a] } else { [a, b] })
                }
            }
            Number::Calculate(result, width) => {
                let [b, a] = [self.pop(), self.pop()];
                result(a.interval, b.interval, width).into()
            }
            Number::Subtract => {
                let [b, a] = [self.pop(), self.pop()];
                let behind = a.local.zip(b.interval.as_point());
                Value { behind, ..a.interval.sub(b.interval, Width::W32).into() }
            }
            Number::And => {
                let [mut b, mut a] = [self.pop(), self.pop()];
                let mut if_true = b.conditions().if_true;
                if_true.extend(a.conditions().if_true);
                Value::new(a.interval.and(b.interval), if_true, Vec::new())
            }
            Number::Or => {
                let [mut b, mut a] = [self.pop(), self.pop()];
                let mut if_false = b.conditions().if_false;
                if_false.extend(a.conditions().if_false);
                Value::new(a.interval.or(b.interval), Vec::new(), if_false)
            }
            Number::Any(operands, width) => {
                (0..operands).for_each(|_| drop(self.pop()));
                width.any().into()
            }
            Number::Wrap => {
                let interval = self.pop().interval;
                let fits = interval.hi <= Width::W32.mask();
                if fits { interval.into() } else { Width::W32.any().into() }
            }
            Number::Same => self.pop().interval.into(),
            Number::Divide(_) | Number::Load(..) | Number::Store(..) | Number::Unknown => return,
        };
        self.push(result);
    }
}
