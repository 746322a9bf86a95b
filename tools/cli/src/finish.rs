//! The last bytes of a module: what wasm-opt leaves, and three rules take away.
//!
//! Compilers think in expressions, of which each result is used or dropped. WebAssembly is a stack
//! machine, on which a value may also wait below, or lie where an instruction that ignores it can use
//! it. Each rule replaces instructions by shorter ones with the same effect for every value that they
//! can meet; why is said where the rule is, and `tests/finish.rs` runs both forms side by side.

use std::collections::VecDeque;
use std::mem;
use std::ops::Range;

use anyhow::{Context, Result, ensure};
use wasm_encoder::{CodeSection, Encode, Instruction, Module, RawSection};
use wasmparser::{
    FunctionBody, Operator, Parser, Payload, TypeRef, ValType, Validator, WasmFeatures,
};

/// The module in `wasm` with the rules applied to each function.
///
/// Custom sections are kept as they are: what tells addresses in the code (debugging information, branch
/// hints) has to be stripped before.
///
/// # Errors
/// It is not a valid module.
pub fn finish(wasm: &[u8]) -> Result<Vec<u8>> {
    ensure!(Parser::is_core_wasm(wasm), "not a WebAssembly module");
    // The rules are true of valid functions.
    validate(wasm).context("not a valid WebAssembly module")?;
    let (mut module, mut code) = (Module::new(), CodeSection::new());
    // Whether each type, each imported function and each function with a body returns one i32.
    let (mut types, mut imported, mut own) = (Vec::new(), Vec::new(), VecDeque::new());
    let returns_i32 = |types: &[bool], kind: u32| types.get(kind as usize) == Some(&true);
    // Functions of the code section that are still to come; the section is made anew after them.
    let mut left = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        match &payload {
            Payload::TypeSection(section) => {
                for kind in section.clone().into_iter_err_on_gc_types() {
                    types.push(kind?.results() == [ValType::I32]);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    if let TypeRef::Func(kind) | TypeRef::FuncExact(kind) = import?.ty {
                        imported.push(returns_i32(&types, kind));
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for kind in section.clone() {
                    own.push_back(returns_i32(&types, kind?));
                }
            }
            Payload::CodeSectionStart { count, .. } => left = *count,
            Payload::CodeSectionEntry(body) => {
                let mut body = Body::read(wasm, body)?;
                body.shorten(own.pop_front() == Some(true), &imported);
                code.raw(&body.encode());
                left -= 1;
                if left == 0 {
                    module.section(&code);
                }
            }
            _ => {}
        }
        let section = payload.as_section().filter(|_| left == 0);
        if let Some((id, range)) = section {
            module.section(&RawSection { id, data: part(wasm, range)? });
        }
    }
    let finished = module.finish();
    validate(&finished).context("a rule of tools/cli/src/finish.rs is wrong")?;
    Ok(finished)
}

fn validate(wasm: &[u8]) -> Result<()> {
    Validator::new_with_features(WasmFeatures::all()).validate_all(wasm)?;
    Ok(())
}

fn part(wasm: &[u8], range: Range<u64>) -> Result<&[u8]> {
    let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
    wasm.get(range).context("a part of a module is outside it")
}

/// A function: its locals and its instructions, as bytes.
struct Body<'a> {
    locals: &'a [u8],
    instructions: Vec<(Operator<'a>, Vec<u8>)>,
}

impl<'a> Body<'a> {
    fn read(wasm: &'a [u8], body: &FunctionBody<'a>) -> Result<Self> {
        let read: Result<Vec<_>, _> =
            body.get_operators_reader()?.into_iter_with_offsets().collect();
        let (read, end) = (read?, body.range().end);
        let ends = read.iter().skip(1).map(|(_, start)| *start).chain([end]);
        let first = read.first().map_or(end, |(_, start)| *start);
        let mut instructions = Vec::new();
        for ((operator, start), end) in read.iter().zip(ends) {
            instructions.push((operator.clone(), part(wasm, *start..end)?.to_vec()));
        }
        Ok(Self { locals: part(wasm, body.range().start..first)?, instructions })
    }

    fn encode(&self) -> Vec<u8> {
        let instructions = self.instructions.iter().flat_map(|(_, bytes)| bytes);
        self.locals.iter().chain(instructions).copied().collect()
    }

    /// Applies the rules. `returns_i32` tells whether this function returns one i32 and nothing else,
    /// `imported` that of each imported one.
    fn shorten(&mut self, returns_i32: bool, imported: &[bool]) {
        // Rule 1: what does nothing is nothing. (wasm-opt 108 has a `nop` in an empty function.)
        self.instructions.retain(|(operator, _)| !matches!(operator, Operator::Nop));
        if let Some(start) = self.denial(imported).filter(|_| returns_i32) {
            self.wait_below(start);
        }
    }

    /// Where the `if` is, if the function ends with a choice between 0 and, after some plain
    /// instructions and a call of the host whose status is dropped, 1:
    /// `if (result i32) ... call drop i32.const 1 else i32.const 0 end end`.
    fn denial(&self, imported: &[bool]) -> Option<usize> {
        let operators: Vec<_> = self.instructions.iter().map(|(operator, _)| operator).collect();
        let [
            before @ ..,
            Operator::Call { function_index },
            Operator::Drop,
            Operator::I32Const { value: 1 },
            Operator::Else,
            Operator::I32Const { value: 0 },
            Operator::End,
            Operator::End,
        ] = &operators[..]
        else {
            return None;
        };
        let is_plain = |operator: &&Operator<'_>| {
            matches!(
                operator,
                Operator::LocalGet { .. }
                    | Operator::LocalSet { .. }
                    | Operator::LocalTee { .. }
                    | Operator::I32Const { .. }
                    | Operator::I32Add
                    | Operator::I32Sub
                    | Operator::Call { .. }
                    | Operator::Drop
            )
        };
        let start = before.iter().rposition(|operator| !is_plain(operator))?;
        // Its arms, an i32 each, tell its type.
        let is_choice = matches!(before[start], Operator::If { .. });
        let answers = imported.get(*function_index as usize) == Some(&true);
        (is_choice && answers).then_some(start)
    }

    /// Rule 2: the 0 of the choice at `start` waits at the bottom of the stack from the beginning of
    /// the function, and a jump to the function's end takes it along where the condition does not
    /// hold. Where it holds, the host's status comes to lie above the 0; and whatever a status is, 0
    /// is at most as large, without a sign: `i32.le_u` makes the 1 of both.
    ///
    /// Nothing else sees the 0. No block and no valid instruction reaches below what it may use; a jump
    /// to the end takes the function's one result along and leaves the rest behind. The choice makes
    /// that result, so nothing but the 0 is below the condition, nor below the status behind it; and
    /// its plain instructions hold no jump, which would have one block less to leave.
    fn wait_below(&mut self, start: usize) {
        let choice = self.instructions.split_off(start);
        let before = mem::take(&mut self.instructions);
        self.push(Operator::I32Const { value: 0 }, &Instruction::I32Const(0));
        self.instructions.extend(before);
        self.negate();
        self.push(Operator::BrIf { relative_depth: 0 }, &Instruction::BrIf(0));
        // All but the `if` in front, and `drop i32.const 1 else i32.const 0 end end` behind.
        let denial = choice.len() - 1 - 6;
        self.instructions.extend(choice.into_iter().skip(1).take(denial));
        self.push(Operator::I32LeU, &Instruction::I32LeU);
        self.push(Operator::End, &Instruction::End);
    }

    /// The condition at the end becomes one that holds exactly where it did not.
    fn negate(&mut self) {
        match &self.instructions[..] {
            [.., (Operator::I32Eqz, _)] => drop(self.instructions.pop()),
            // Rule 3: a number `a` is less, without a sign, than a comparison `x == y`, which is 1 or 0,
            // only if `a` is 0 and they are equal; and exactly then `a | (x != y)` is 0.
            [.., (Operator::I64Ne, _), (Operator::I32Or, _)] => {
                self.instructions.truncate(self.instructions.len() - 2);
                self.push(Operator::I64Eq, &Instruction::I64Eq);
                self.push(Operator::I32LtU, &Instruction::I32LtU);
            }
            _ => self.push(Operator::I32Eqz, &Instruction::I32Eqz),
        }
    }

    fn push(&mut self, operator: Operator<'a>, instruction: &Instruction<'_>) {
        let mut bytes = Vec::new();
        instruction.encode(&mut bytes);
        self.instructions.push((operator, bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(body: &str) -> String {
        shortened("i32", body)
    }

    /// The instructions of a function that returns `results`. Among the imports are such that are no
    /// functions, so that the numbers of functions are their own.
    fn shortened(results: &str, body: &str) -> String {
        let wat = format!(
            "(module (import \"env\" \"global\" (global i32)) \
             (import \"env\" \"send\" (func (result i32))) \
             (import \"env\" \"memory\" (memory 1)) \
             (import \"env\" \"wide\" (func (result i64))) \
             (func nop) \
             (func (param i32 i64) (result {results}) {body}))"
        );
        let wasm = finish(&wat::parse_str(wat).unwrap()).unwrap();
        let mut operators = Vec::new();
        for payload in Parser::new(0).parse_all(&wasm) {
            if let Payload::CodeSectionEntry(body) = payload.unwrap() {
                operators.clear();
                let mut reader = body.get_operators_reader().unwrap();
                while !reader.eof() {
                    operators.push(format!("{:?}", reader.read().unwrap()));
                }
            }
        }
        operators.join(" ")
    }

    const DENIAL: &str = "if (result i32) call 0 drop i32.const 1 else i32.const 0 end";

    #[test]
    fn a_denial_takes_fewer_instructions() {
        let expected = |condition: &str| {
            format!(
                "I32Const {{ value: 0 }} {condition} BrIf {{ relative_depth: 0 }} \
                 Call {{ function_index: 0 }} I32LeU End"
            )
        };
        let zero = "LocalGet { local_index: 0 }";
        let text = format!("nop local.get 0 {DENIAL}");
        assert_eq!(finished(&text), expected(&format!("{zero} I32Eqz")));
        let text = format!("local.get 0 i32.eqz {DENIAL}");
        assert_eq!(finished(&text), expected(zero));
        let text = format!("local.get 0 local.get 1 i64.const 7 i64.ne i32.or {DENIAL}");
        let compared = "LocalGet { local_index: 1 } I64Const { value: 7 } I64Eq I32LtU";
        assert_eq!(finished(&text), expected(&format!("{zero} {compared}")));
    }

    #[test]
    fn what_is_almost_a_denial_stays() {
        for text in [
            // Another action; a status of another type; a jump within; more behind it.
            DENIAL.replace("const 1", "const 2"),
            DENIAL.replace("const 0", "const 3"),
            DENIAL.replace("call 0", "call 1"),
            DENIAL.replace("call 0", "i32.const 9"),
            DENIAL.replace("call 0", "i32.const 5 return call 0"),
            DENIAL.replace("call 0", "block end call 0"),
            format!("{DENIAL} i32.eqz"),
        ] {
            let text = format!("local.get 0 {text}");
            assert!(finished(&text).contains("If {"), "{text}: {}", finished(&text));
        }
        // What lies below belongs to a function with more results.
        let two = shortened("i32 i32", &format!("i32.const 7 local.get 0 {DENIAL}"));
        assert!(two.contains("If {"), "{two}");
    }

    #[test]
    fn what_is_no_module_is_an_error() {
        let component = b"\0asm\x0d\0\x01\0";
        for wasm in [&b"\0asm\x01\0\0"[..], component] {
            assert_eq!(finish(wasm).unwrap_err().to_string(), "not a WebAssembly module");
        }
        let cut = b"\0asm\x01\0\0\0\x01";
        assert_eq!(finish(cut).unwrap_err().to_string(), "not a valid WebAssembly module");
    }
}
