//! Abstract execution of a function: for all arguments, all contents of memory and all answers of the host at
//! once. It finds the most instructions of one call, what it returns, what it calls, and what could trap.
//!
//! A number is an [`Interval`]. Where a branch may go either way, both ways are executed, with what the condition
//! says about the locals, and joined where they meet. A loop is executed again as long as a jump to its start is
//! possible: so a bound follows from a counter, from a size that was checked, and from a number that is divided.
//! Memory has any contents.

mod code;
mod number;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use wasmparser::{BlockType, MemArg, Operator};

use crate::functions::Function;
use crate::interval::{Interval, Relation};
pub(crate) use code::{Code, Module};
use state::{Condition, Conditions, State, Value, joined};

/// How many steps are taken before a function counts as unbounded. A step is an instruction, or a number that is
/// copied or joined.
const LIMIT: u64 = 1 << 24;
/// From so many exported functions on, they share the steps.
const SHARED: u64 = 16;
/// So many locals and operands of a function, or open calls, may be too many for the stack of an engine.
const DEEP: usize = 1000;
const NESTED: usize = 64;

/// What all calls of a function do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Execution {
    /// The most instructions of one call.
    pub most: u64,
    /// Why there is no such bound; the rest is what was found until then.
    pub unbounded: Option<String>,
    /// What it returns, if it does.
    pub result: Option<Interval>,
    /// The imported functions that a call may reach, and those that each call reaches.
    pub reached: BTreeSet<u32>,
    pub always_reached: BTreeSet<u32>,
    /// What could trap, by function and instruction.
    pub traps: BTreeMap<(usize, usize), String>,
}

/// A `block`, `loop`, `if` or function body that is open.
struct Frame {
    start: usize,
    end: usize,
    otherwise: Option<usize>,
    is_loop: bool,
    height: usize,
    arity: usize,
    /// The states that jumps lead to its end, and to its start; and that of an `if` whose condition is 0.
    exit: Option<State>,
    again: Option<State>,
    alternative: Option<State>,
    /// Locals and stack when the loop was last begun.
    begun: Option<(Vec<Interval>, Vec<Value>)>,
}

/// A function that is executed.
struct Call {
    function: usize,
    at: usize,
    frames: Vec<Frame>,
    /// What the caller goes on with.
    caller: Option<(Vec<Interval>, Vec<Value>)>,
}

struct Machine<'a> {
    module: &'a Module<'a>,
    calls: Vec<Call>,
    state: Option<State>,
    steps: u64,
    limit: u64,
    most: u64,
    execution: Execution,
}

/// Executes a function with a body.
pub(crate) fn execute(module: &Module<'_>, function: &Function) -> Execution {
    let exported = module.functions.iter().filter(|function| !function.exports.is_empty()).count();
    let limit = (LIMIT * SHARED / exported.max(1) as u64).min(LIMIT);
    let index = function.index as usize - module.imports.len();
    let code = &module.code[index];
    let stack = code.params.iter().map(|width| width.any().into()).collect();
    let state = State { locals: Vec::new(), stack, count: 0, called: 0 };
    let execution = Execution::default();
    let mut machine = Machine {
        module,
        calls: Vec::new(),
        state: Some(state),
        steps: 0,
        limit,
        most: 0,
        execution,
    };
    if let Err(why) = machine.enter(index) {
        return Execution { unbounded: Some(why), ..machine.execution };
    }
    while !machine.calls.is_empty() {
        if let Err(why) = machine.step() {
            return Execution { unbounded: Some(why), ..machine.execution };
        }
    }
    let mut execution = machine.execution;
    if let Some(mut state) = machine.state {
        execution.result = (code.results > 0).then(|| state.pop().interval);
        execution.always_reached = (0..64).filter(|bit| state.called >> bit & 1 == 1).collect();
    }
    execution.most = machine.most;
    execution
}

impl<'a> Machine<'a> {
    fn function(&self) -> &'a Function {
        &self.module.functions[self.calls.last().map_or(0, |call| call.function)]
    }

    fn trap(&mut self, what: &str) {
        let message = format!("{what} in {}", self.function());
        let place = self.calls.last().map_or((0, 0), |call| (call.function, call.at));
        self.execution.traps.entry(place).or_insert(message);
    }

    /// Calls a function with the arguments on the stack.
    fn enter(&mut self, function: usize) -> Result<(), String> {
        let code = &self.module.code[function];
        let Some(state) = &mut self.state else { return Ok(()) };
        if code.params.len() + code.locals.len() > DEEP || self.calls.len() == NESTED {
            let function = &self.module.functions[function];
            return Err(format!("more than {DEEP} locals or {NESTED} open calls in {function}"));
        }
        let arguments = state.stack.len().saturating_sub(code.params.len());
        let narrowed = |value: &Value| state.narrowed(value).interval;
        let mut locals: Vec<_> = state.stack[arguments..].iter().map(narrowed).collect();
        locals.extend(code.locals.iter().map(|_| Interval::point(0)));
        state.stack.truncate(arguments);
        let caller = (mem::replace(&mut state.locals, locals), mem::take(&mut state.stack));
        let body = Frame {
            start: 0,
            end: code.body.len() - 1,
            otherwise: None,
            is_loop: false,
            height: 0,
            arity: code.results,
            exit: None,
            again: None,
            alternative: None,
            begun: None,
        };
        let caller = (!self.calls.is_empty()).then_some(caller);
        self.calls.push(Call { function, at: 0, frames: vec![body], caller });
        Ok(())
    }

    /// Executes one instruction.
    fn step(&mut self) -> Result<(), String> {
        let Some(call) = self.calls.last_mut() else { return Ok(()) };
        let (Some(frame), body) = (call.frames.last(), &self.module.code[call.function].body)
        else {
            return Ok(());
        };
        if self.state.is_none() {
            // Nothing leads here: on to what may be reached by other ways.
            let otherwise = frame.otherwise.filter(|&at| at >= call.at);
            call.at = otherwise.unwrap_or(frame.end);
        }
        let operator = &body[call.at];
        call.at += 1;
        self.steps += 1;
        if self.steps > self.limit {
            return Err(format!("more than {} steps, the last in {}", self.limit, self.function()));
        }
        match operator {
            Operator::Else => {
                if let Some(frame) = call.frames.last_mut() {
                    frame.exit = joined(frame.exit.take(), self.state.take());
                    self.state = frame.alternative.take();
                }
                Ok(())
            }
            Operator::End => self.end(),
            _ => {
                let Some(mut state) = self.state.take() else { return Ok(()) };
                if !matches!(operator, Operator::Block { .. } | Operator::Loop { .. }) {
                    state.count += 1;
                }
                if state.stack.len() > DEEP {
                    return Err(self.unknown(&format!("more than {DEEP} operands")));
                }
                // A trap can end a path at any instruction.
                self.most = self.most.max(state.count);
                self.state = Some(state);
                self.operator(operator)
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(call) = self.calls.last_mut() else { return Ok(()) };
        let Some(mut frame) = call.frames.pop() else { return Ok(()) };
        let fallen = self.state.take().map(|state| state.unwound(frame.height, frame.arity));
        let alternative = frame.alternative.take();
        frame.exit = joined(joined(frame.exit.take(), fallen), alternative);
        if let Some(again) = frame.again.take() {
            let now = Some((again.locals.clone(), again.stack.clone()));
            // As the last time: it would go on like this.
            if now == frame.begun {
                let function = &self.module.functions[call.function];
                return Err(format!("loop that may be endless in {function}"));
            }
            frame.begun = now;
            self.state = Some(again);
            call.at = frame.start + 1;
            call.frames.push(frame);
            return Ok(());
        }
        self.state = frame.exit;
        if call.frames.is_empty() {
            let caller = self.calls.pop().and_then(|call| call.caller);
            if let (Some(state), Some((locals, mut stack))) = (&mut self.state, caller) {
                stack.extend(state.stack.drain(..).map(|value| Value::from(value.interval)));
                (state.locals, state.stack) = (locals, stack);
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        block: BlockType,
        is_loop: bool,
        alternative: Option<State>,
    ) -> Result<(), String> {
        let arity = match block {
            BlockType::Empty => 0,
            BlockType::Type(_) => 1,
            BlockType::FuncType(_) => return Err(self.unknown("a block with several results")),
        };
        let height = self.state.as_ref().or(alternative.as_ref()).map_or(0, |s| s.stack.len());
        if let Some(call) = self.calls.last_mut() {
            let start = call.at - 1;
            let (otherwise, end) = self.module.code[call.function].blocks[&start];
            let begun = self.state.as_ref().filter(|_| is_loop);
            let begun = begun.map(|state| (state.locals.clone(), state.stack.clone()));
            let (exit, again) = (None, None);
            call.frames.push(Frame {
                start,
                end,
                otherwise,
                is_loop,
                height,
                arity,
                exit,
                again,
                alternative,
                begun,
            });
        }
        Ok(())
    }

    /// Leads `state` to a label.
    fn jump(&mut self, depth: u32, state: Option<State>) {
        let frames = self.calls.last_mut().map(|call| &mut call.frames);
        if let Some(frame) = frames.and_then(|frames| frames.iter_mut().rev().nth(depth as usize)) {
            let arity = if frame.is_loop { 0 } else { frame.arity };
            self.steps += state.as_ref().map_or(0, State::size);
            let state = state.map(|state| state.unwound(frame.height, arity));
            let label = if frame.is_loop { &mut frame.again } else { &mut frame.exit };
            *label = joined(label.take(), state);
        }
    }

    /// The states after a condition, if it is not 0 and if it is.
    fn branch(&mut self) -> [Option<State>; 2] {
        let Some(mut state) = self.state.take() else { return [None, None] };
        self.steps += state.size();
        let mut condition = state.pop();
        let Conditions { if_true, if_false } = condition.conditions();
        let zero = Interval::point(0);
        let is_zero = condition.interval.meet(zero).is_some();
        let is_other = condition.interval != zero;
        let own = |relation| Condition {
            relation,
            sides: [(condition.local, condition.interval), (None, zero)],
        };
        // Most conditions are known: only one state is needed then.
        let taken = is_other.then(|| if is_zero { state.clone() } else { mem::take(&mut state) });
        let taken = taken.and_then(|state| state.assume(&if_true, &own(Relation::Ne)));
        let other = is_zero.then_some(state);
        [taken, other.and_then(|state| state.assume(&if_false, &own(Relation::Eq)))]
    }

    fn unknown(&self, what: &str) -> String {
        format!("{what} in {}", self.function())
    }

    fn call(&mut self, index: u32) -> Result<(), String> {
        let Some(&(params, result)) = self.module.imports.get(index as usize) else {
            let function = index as usize - self.module.imports.len();
            if self.module.functions[function].recursive {
                return Err(format!("recursion in {}", self.module.functions[function]));
            }
            return self.enter(function);
        };
        self.execution.reached.insert(index);
        if let Some(state) = &mut self.state {
            state.stack.truncate(state.stack.len().saturating_sub(params));
            state.called |= 1_u64.checked_shl(index).unwrap_or(0);
            if let Some(width) = result {
                state.push(width.any());
            }
        }
        Ok(())
    }

    /// Checks that an access of `size` bytes is inside memory.
    fn access(&mut self, address: Interval, argument: &MemArg, size: u64, what: &str) {
        let end = argument.offset.checked_add(size).and_then(|past| past.checked_add(address.hi));
        if end.is_none_or(|end| end > self.module.memory) {
            let [lo, hi] = [address.lo, address.hi].map(|at| at.saturating_add(argument.offset));
            let place = if lo == hi { format!("{lo}") } else { format!("{lo} to {hi}") };
            self.trap(&format!("{what} of {size} bytes at {place}, not always inside memory,"));
        }
    }

    fn operator(&mut self, operator: &Operator<'_>) -> Result<(), String> {
        use Operator as Op;
        match operator {
            Op::Block { blockty } => self.open(*blockty, false, None)?,
            Op::Loop { blockty } => self.open(*blockty, true, None)?,
            Op::If { blockty } => {
                let [then, otherwise] = self.branch();
                self.state = then;
                self.open(*blockty, false, otherwise)?;
            }
            Op::Br { relative_depth } => {
                let state = self.state.take();
                self.jump(*relative_depth, state);
            }
            Op::BrIf { relative_depth } => {
                let [taken, other] = self.branch();
                self.jump(*relative_depth, taken);
                self.state = other;
            }
            Op::BrTable { targets } => {
                if let Some(mut state) = self.state.take() {
                    let value = state.pop();
                    for (number, target) in (0..).zip(targets.targets().flatten()) {
                        self.jump(target, state.selected(&value, number));
                    }
                    let beyond = value.interval.hi >= u64::from(targets.len());
                    self.jump(targets.default(), beyond.then_some(state));
                }
            }
            Op::Return => {
                let outermost = self.calls.last().map_or(0, |call| call.frames.len() - 1);
                let state = self.state.take();
                self.jump(outermost as u32, state);
            }
            Op::Unreachable => {
                self.trap("unreachable");
                self.state = None;
            }
            Op::Call { function_index } => self.call(*function_index)?,
            _ => return self.number(operator),
        }
        Ok(())
    }
}
