//! Abstract execution of a function: for all arguments, all contents of memory and all answers of the host at
//! once. It finds the most instructions of one call, what it returns, what it calls, and what could trap.
//!
//! A number is an [`Interval`]. Where a branch may go either way, both ways are executed, with what the condition
//! says about the locals, and joined where they meet. A loop is executed again as long as a jump to its start is
//! possible: so a bound follows from a counter, from a size that was checked, and from a number that is divided.
//! Memory has any contents.

mod number;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use wasmparser::{BlockType, MemArg, Operator};

use crate::functions::Function;
use crate::interval::{BOOL, Interval, Relation, Width};

/// The most instructions that are executed before a function counts as unbounded.
const LIMIT: u64 = 1 << 26;

/// A function with a body.
pub(crate) struct Code<'a> {
    pub params: Vec<Width>,
    /// Those that the body declares.
    pub locals: Vec<Width>,
    pub results: usize,
    pub body: Vec<Operator<'a>>,
    /// For each `block`, `loop` and `if`: where its `else` and its `end` are.
    blocks: BTreeMap<usize, (Option<usize>, usize)>,
}

impl<'a> Code<'a> {
    pub fn new(
        params: Vec<Width>,
        locals: Vec<Width>,
        results: usize,
        body: Vec<Operator<'a>>,
    ) -> Self {
        let (mut blocks, mut open) = (BTreeMap::new(), Vec::new());
        for (at, operator) in body.iter().enumerate() {
            match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    open.push((at, None));
                }
                Operator::Else => {
                    if let Some((_, otherwise)) = open.last_mut() {
                        *otherwise = Some(at);
                    }
                }
                Operator::End => {
                    if let Some((start, otherwise)) = open.pop() {
                        blocks.insert(start, (otherwise, at));
                    }
                }
                _ => {}
            }
        }
        Self { params, locals, results, body, blocks }
    }
}

/// What is known of a module.
pub(crate) struct Module<'a> {
    /// Number of parameters, and width of the result, of each imported function.
    pub imports: Vec<(usize, Option<Width>)>,
    pub functions: &'a [Function],
    pub code: &'a [Code<'a>],
    /// Bytes that the memory has at least.
    pub memory: u64,
}

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
    /// What could trap, and where.
    pub traps: BTreeSet<String>,
}

/// A comparison of two numbers, each of which may be that of a local.
#[derive(Clone, Debug, PartialEq)]
struct Condition {
    relation: Relation,
    sides: [(Option<u32>, Interval); 2],
}

/// A number on the stack.
#[derive(Clone, Debug, PartialEq)]
struct Value {
    interval: Interval,
    /// The local that has the same number.
    local: Option<u32>,
    conditions: Option<Box<Conditions>>,
}

/// What holds if a number is not 0, and if it is.
#[derive(Clone, Debug, Default, PartialEq)]
struct Conditions {
    if_true: Vec<Condition>,
    if_false: Vec<Condition>,
}

impl From<Interval> for Value {
    fn from(interval: Interval) -> Self {
        Self { interval, local: None, conditions: None }
    }
}

impl Value {
    /// A number about which this is known.
    fn new(interval: Interval, if_true: Vec<Condition>, if_false: Vec<Condition>) -> Self {
        let known = !(if_true.is_empty() && if_false.is_empty());
        let conditions = known.then(|| Box::new(Conditions { if_true, if_false }));
        Self { conditions, ..interval.into() }
    }

    fn conditions(&mut self) -> Conditions {
        self.conditions.take().map_or_else(Conditions::default, |conditions| *conditions)
    }
}

/// A point of the execution of one function.
#[derive(Clone, Debug, Default)]
struct State {
    locals: Vec<Interval>,
    stack: Vec<Value>,
    /// Instructions so far, on the longest path.
    count: u64,
    /// The imported functions that every path has called, a bit for each of the first 64.
    called: u64,
}

impl State {
    fn pop(&mut self) -> Value {
        self.stack.pop().map_or(Width::W64.any().into(), |mut value| {
            if let Some(local) = value.local {
                let known = value.interval.meet(self.locals[local as usize]);
                value.interval = known.unwrap_or(value.interval);
            }
            value
        })
    }

    fn push(&mut self, value: impl Into<Value>) {
        self.stack.push(value.into());
    }

    /// Sets a local: what was known of its former number is forgotten.
    fn set(&mut self, local: u32, value: &mut Value) {
        let now = self.locals[local as usize];
        for other in self.stack.iter_mut().chain([&mut *value]) {
            if other.local == Some(local) {
                other.local = None;
                other.interval = other.interval.meet(now).unwrap_or(other.interval);
            }
            let keeps = |c: &Condition| c.sides.iter().all(|(side, _)| *side != Some(local));
            if let Some(conditions) = &mut other.conditions {
                conditions.if_true.retain(keeps);
                conditions.if_false.retain(keeps);
            }
        }
        self.locals[local as usize] = value.interval;
    }

    /// The state if all of this holds; none if it cannot.
    fn assume(mut self, conditions: &[Condition], own: &Condition) -> Option<Self> {
        for Condition { relation, sides } in conditions.iter().chain([own]) {
            let now = |(local, interval): (Option<u32>, Interval)| match local {
                Some(local) => interval.meet(self.locals[local as usize]),
                None => Some(interval),
            };
            let (a, b) = now(sides[0])?.narrow(*relation, now(sides[1])?)?;
            for ((local, _), narrowed) in sides.iter().zip([a, b]) {
                if let Some(local) = local {
                    self.locals[*local as usize] = narrowed;
                }
            }
        }
        Some(self)
    }

    /// What is left of a value in this state.
    fn narrowed(&self, value: &Value) -> Value {
        let local = value.local.and_then(|local| value.interval.meet(self.locals[local as usize]));
        Value::from(local.unwrap_or(value.interval))
    }

    /// The stack as a jump leaves it: `height` values below `arity` results.
    fn unwound(mut self, height: usize, arity: usize) -> Self {
        let results = self.stack.split_off(self.stack.len().saturating_sub(arity));
        self.stack.truncate(height);
        self.stack.extend(results);
        self
    }

    fn join(mut self, other: &Self) -> Self {
        for (own, other) in self.locals.iter_mut().zip(&other.locals) {
            *own = own.join(*other);
        }
        for (own, other) in self.stack.iter_mut().zip(&other.stack) {
            if own != other {
                *own = Value {
                    local: own.local.filter(|local| other.local == Some(*local)),
                    ..own.interval.join(other.interval).into()
                };
            }
        }
        self.count = self.count.max(other.count);
        self.called &= other.called;
        self
    }
}

fn joined(a: Option<State>, b: Option<State>) -> Option<State> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.join(&b)),
        (a, b) => a.or(b),
    }
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
    most: u64,
    execution: Execution,
}

/// Executes a function with a body.
pub(crate) fn execute(module: &Module<'_>, function: &Function) -> Execution {
    let index = function.index as usize - module.imports.len();
    let code = &module.code[index];
    let stack = code.params.iter().map(|width| width.any().into()).collect();
    let state = State { locals: Vec::new(), stack, count: 0, called: 0 };
    let execution = Execution::default();
    let mut machine =
        Machine { module, calls: Vec::new(), state: Some(state), steps: 0, most: 0, execution };
    machine.enter(index);
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
        let place = self.function().to_string();
        self.execution.traps.insert(format!("{what} in {place}"));
    }

    /// Calls a function with the arguments on the stack.
    fn enter(&mut self, function: usize) {
        let code = &self.module.code[function];
        let Some(state) = &mut self.state else { return };
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
        if self.steps > LIMIT {
            return Err(format!("more than {LIMIT} instructions, in {}", self.function()));
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
            let state = state.map(|state| state.unwound(frame.height, arity));
            let label = if frame.is_loop { &mut frame.again } else { &mut frame.exit };
            *label = joined(label.take(), state);
        }
    }

    /// The states after a condition, if it is not 0 and if it is.
    fn branch(&mut self) -> [Option<State>; 2] {
        let Some(mut state) = self.state.take() else { return [None, None] };
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
            self.enter(function);
            return Ok(());
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
                    state.pop();
                    for target in targets.targets().flatten().chain([targets.default()]) {
                        self.jump(target, Some(state.clone()));
                    }
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
