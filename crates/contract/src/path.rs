//! The longest path through a function: the most instructions that one call of it can execute.
//!
//! WebAssembly's control flow is structured, so without loops one pass over the body finds it: keep
//! the cost of the longest path to the current instruction, and for each open label that of the
//! longest jump to it. A call costs what its callee's longest path does; a call of an imported
//! function costs nothing. Either side of a branch counts as possible.

use std::cmp::max;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use wasmparser::Operator;

use crate::functions::Function;

/// The most instructions that a call can execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// At most this many. `block`, `loop`, `else` and `end` only mark places and are not counted.
    Instructions(u64),
    /// No limit follows from the code, and why.
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

/// The bound of each function by index. `callees_first` is the order of
/// [`crate::functions::mark_recursion`].
pub(crate) fn bounds(
    functions: &[Function],
    bodies: &[Vec<Operator<'_>>],
    callees_first: &[u32],
) -> BTreeMap<u32, Bound> {
    let by_index: BTreeMap<_, _> =
        functions.iter().zip(bodies).map(|(f, body)| (f.index, (f, body))).collect();
    let mut known = BTreeMap::new();
    for (function, body) in callees_first.iter().filter_map(|index| by_index.get(index)) {
        let bound = match longest(function, body, &known) {
            _ if function.recursive => Bound::Unbounded(format!("recursion in {function}")),
            Ok(count) => Bound::Instructions(count),
            Err(why) => Bound::Unbounded(why),
        };
        known.insert(function.index, bound);
    }
    known
}

/// A label that is open at some instruction. No cost means that no path leads there.
#[derive(Clone, Copy, Default)]
struct Label {
    /// Cost of the longest path to its end so far.
    end: Option<u64>,
    /// For an `if` before its `else`: cost up to the condition.
    condition: Option<u64>,
}

fn longest(
    function: &Function,
    body: &[Operator<'_>],
    known: &BTreeMap<u32, Bound>,
) -> Result<u64, String> {
    use Operator as Op;

    if function.loops > 0 {
        return Err(format!("loop in {function}"));
    }
    if function.indirect_calls > 0 {
        return Err(format!("indirect call in {function}"));
    }
    // The cost up to the current instruction; none while it is dead code.
    let mut here = Some(0_u64);
    let mut most = 0;
    let mut labels = vec![Label::default()];
    for operator in body {
        if !matches!(operator, Op::Block { .. } | Op::Else | Op::End) {
            here = here.map(|count| count.saturating_add(1));
        }
        // A trap can end a path at any instruction.
        most = max(most, here.unwrap_or(0));
        match operator {
            Op::Block { .. } => labels.push(Label::default()),
            Op::If { .. } => labels.push(Label { end: None, condition: here }),
            Op::Else => {
                if let Some(label) = labels.last_mut() {
                    label.end = max(label.end, here);
                    here = label.condition.take();
                }
            }
            Op::End => {
                // An `if` without `else` may go on right after its condition.
                let Label { end, condition } = labels.pop().unwrap_or_default();
                here = max(here, max(end, condition));
            }
            Op::Br { relative_depth } => {
                jump(&mut labels, *relative_depth, here);
                here = None;
            }
            Op::BrIf { relative_depth } => jump(&mut labels, *relative_depth, here),
            Op::BrTable { targets } => {
                for target in targets.targets().flatten().chain([targets.default()]) {
                    jump(&mut labels, target, here);
                }
                here = None;
            }
            Op::Return | Op::Unreachable => here = None,
            Op::Call { function_index } | Op::ReturnCall { function_index } => {
                here = after_call(here, known.get(function_index))?;
            }
            _ if is_newer_control_flow(operator) => {
                return Err(format!("control flow beyond WebAssembly 1.0 in {function}"));
            }
            _ => {}
        }
    }
    Ok(most)
}

fn jump(labels: &mut [Label], depth: u32, cost: Option<u64>) {
    if let Some(label) = labels.iter_mut().rev().nth(depth as usize) {
        label.end = max(label.end, cost);
    }
}

/// The cost after a call; the callee has no bound if it is imported.
fn after_call(here: Option<u64>, callee: Option<&Bound>) -> Result<Option<u64>, String> {
    match (here, callee) {
        (Some(count), Some(Bound::Instructions(cost))) => Ok(Some(count.saturating_add(*cost))),
        (Some(_), Some(Bound::Unbounded(why))) => Err(why.clone()),
        (here, _) => Ok(here),
    }
}

/// Jumps and blocks that came after WebAssembly 1.0, which are not analysed.
fn is_newer_control_flow(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::BrOnNull { .. }
            | Operator::BrOnNonNull { .. }
            | Operator::BrOnCast { .. }
            | Operator::BrOnCastFail { .. }
            | Operator::BrOnCastDescEq { .. }
            | Operator::BrOnCastDescEqFail { .. }
            | Operator::TryTable { .. }
            | Operator::Try { .. }
            | Operator::Resume { .. }
            | Operator::ResumeThrow { .. }
            | Operator::ResumeThrowRef { .. }
            | Operator::Suspend { .. }
            | Operator::Switch { .. }
    )
}
