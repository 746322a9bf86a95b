//! The longest path through a function: most instructions that one call of it can execute.
//!
//! WebAssembly's control flow is structured, so without loops one pass over the body finds it: at
//! each point the cost of the dearest way there, at each label that of the dearest jump to it. A
//! call costs what its callee's longest path does; a host's own work is not counted. Either side of
//! a branch counts as possible.

use std::cmp::max;
use std::collections::BTreeMap;
use std::fmt;

use wasmparser::Operator;

use super::functions::{Function, callee, is_indirect};

/// Most instructions that a call can execute.
#[derive(serde::Serialize, Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At most this many. `block`, `loop`, `else` and `end` only mark places and are not counted.
    Instructions(u64),
    /// Nothing in the code limits them, and why.
    Unbounded(String),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instructions(count) => write!(f, "{count}"),
            Self::Unbounded(why) => write!(f, "unbounded ({why})"),
        }
    }
}

/// What an instruction means for a path.
#[derive(Debug)]
pub(super) enum Step {
    Plain,
    Call(u32),
    CallIndirect,
    Block,
    Loop,
    If,
    Else,
    End,
    /// A jump that may be taken (or not, if `always` is false) to one of these labels.
    Jump {
        labels: Vec<u32>,
        always: bool,
    },
    Return,
    Unreachable,
    /// Control flow of a later version than this analysis knows.
    Unknown,
}

/// A body as steps.
pub(super) type Path = Vec<Step>;

pub(super) fn trace(operators: &[Operator<'_>]) -> Path {
    operators.iter().map(step).collect()
}

fn step(operator: &Operator<'_>) -> Step {
    if is_indirect(operator) {
        return Step::CallIndirect;
    }
    if let Some(index) = callee(operator) {
        return Step::Call(index);
    }
    match operator {
        Operator::Block { .. } => Step::Block,
        Operator::Loop { .. } => Step::Loop,
        Operator::If { .. } => Step::If,
        Operator::Else => Step::Else,
        Operator::End => Step::End,
        Operator::Br { relative_depth } => {
            Step::Jump { labels: vec![*relative_depth], always: true }
        }
        Operator::BrIf { relative_depth } => {
            Step::Jump { labels: vec![*relative_depth], always: false }
        }
        Operator::BrTable { targets } => {
            let labels = targets.targets().flatten().chain([targets.default()]).collect();
            Step::Jump { labels, always: true }
        }
        Operator::Return => Step::Return,
        Operator::Unreachable => Step::Unreachable,
        Operator::BrOnNull { .. }
        | Operator::BrOnNonNull { .. }
        | Operator::BrOnCast { .. }
        | Operator::BrOnCastFail { .. }
        | Operator::TryTable { .. }
        | Operator::Try { .. }
        | Operator::Resume { .. }
        | Operator::Suspend { .. }
        | Operator::Switch { .. } => Step::Unknown,
        _ => Step::Plain,
    }
}

/// The longest paths of one call of each function, by index. Imported functions have none.
pub(super) fn longest(functions: &[Function], callees_first: &[u32]) -> BTreeMap<u32, Bound> {
    let by_index: BTreeMap<_, _> = functions.iter().map(|f| (f.index, f)).collect();
    let mut search = Search { known: BTreeMap::new() };
    for function in callees_first.iter().filter_map(|index| by_index.get(index)) {
        let bound = match search.body(function) {
            _ if function.recursive => Bound::Unbounded(format!("recursion in {function}")),
            Ok(count) => Bound::Instructions(count),
            Err(why) => Bound::Unbounded(why),
        };
        search.known.insert(function.index, bound);
    }
    search.known
}

struct Search {
    known: BTreeMap<u32, Bound>,
}

/// A label that is open at some point of a body.
struct Label {
    /// The dearest way to its end so far.
    end: Option<u64>,
    /// Of an `if`: the cost up to its condition, until `else` takes it up.
    condition: Option<u64>,
}

impl Search {
    /// A call: what its callee's longest path costs, nothing for an imported function.
    fn call(&self, index: u32) -> Result<u64, String> {
        match self.known.get(&index) {
            None => Ok(0),
            Some(Bound::Instructions(count)) => Ok(*count),
            Some(Bound::Unbounded(why)) => Err(why.clone()),
        }
    }

    fn body(&self, function: &Function) -> Result<u64, String> {
        // None while no path leads to the current instruction.
        let mut here = Some(0_u64);
        let mut most = 0;
        let mut labels = vec![Label { end: None, condition: None }];
        for step in &function.path {
            if !matches!(step, Step::Block | Step::Loop | Step::Else | Step::End) {
                here = here.map(|count| count.saturating_add(1));
            }
            // A path may end at any instruction, by a trap.
            most = max(most, here.unwrap_or(0));
            match step {
                Step::Plain => {}
                Step::Call(index) => {
                    if let Some(count) = here {
                        here = Some(count.saturating_add(self.call(*index)?));
                        most = max(most, here.unwrap_or(0));
                    }
                }
                Step::CallIndirect if here.is_some() => {
                    return Err(format!("indirect call in {function}"));
                }
                Step::Loop if here.is_some() => return Err(format!("loop in {function}")),
                Step::Unknown if here.is_some() => {
                    return Err(format!("control flow beyond WebAssembly 1.0 in {function}"));
                }
                Step::CallIndirect => {}
                Step::Block | Step::Loop | Step::Unknown => {
                    labels.push(Label { end: None, condition: None });
                }
                Step::If => labels.push(Label { end: None, condition: here }),
                Step::Else => {
                    if let Some(label) = labels.last_mut() {
                        label.end = max(label.end, here);
                        here = label.condition.take();
                    }
                }
                Step::End => {
                    if let Some(label) = labels.pop() {
                        // An `if` without `else` goes on with its condition alone.
                        here = max(here, max(label.end, label.condition));
                    }
                }
                Step::Jump { labels: targets, always } => {
                    for &target in targets {
                        let place = labels.len().checked_sub(1 + target as usize);
                        if let Some(label) = place.and_then(|place| labels.get_mut(place)) {
                            label.end = max(label.end, here);
                        }
                    }
                    if *always {
                        here = None;
                    }
                }
                Step::Return | Step::Unreachable => here = None,
            }
        }
        Ok(most)
    }
}
