//! What an execution reads of a module.

use std::collections::BTreeMap;

use wasmparser::Operator;

use crate::functions::Function;
use crate::interval::Width;

/// A function with a body.
pub(crate) struct Code<'a> {
    pub params: Vec<Width>,
    /// Those that the body declares.
    pub locals: Vec<Width>,
    pub results: usize,
    pub body: Vec<Operator<'a>>,
    /// For each `block`, `loop` and `if`: where its `else` and its `end` are.
    pub blocks: BTreeMap<usize, (Option<usize>, usize)>,
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
