//! A machine for the part of pickle that is data.
//!
//! Pickle is a stack language: most instructions push a value, some gather
//! values from the stack into a tuple, list or dictionary, and a *memo* recalls
//! earlier ones. PyTorch writes protocol 2, of which the machine knows the 32
//! instructions that state dictionaries need.
//!
//! Two instructions could do harm in Python. `GLOBAL` imports: here it finds a
//! tag on the short list of [`Global`]. `REDUCE` calls: here it builds a
//! dictionary or a tensor. `BUILD`, which sets attributes, is accepted for
//! dictionaries (PyTorch hangs version numbers on them) and drops what it is
//! given.
//!
//! Every instruction pushes at most one value and takes constant time per
//! value that it consumes, so that their number bounds time and memory.

use std::collections::HashMap;

use super::global::{self, Global};
use super::opcode::*;
use super::reader::Reader;
use super::value::{Heap, Value};
use crate::error::CheckpointError;

/// Most instructions in one pickle; a network of a thousand tensors has twenty
/// thousand.
const MAX_INSTRUCTIONS: usize = 1 << 22;

/// Reads one pickle from the front of `reader`; what it builds is on `heap`.
pub(super) fn load<'a>(
    reader: &mut Reader<'a>,
    heap: &mut Heap<'a>,
) -> Result<Value<'a>, CheckpointError> {
    let mut machine = Machine {
        offset: reader.offset(),
        reader,
        heap,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..MAX_INSTRUCTIONS {
        machine.offset = machine.reader.offset();
        match machine.reader.byte()? {
            STOP => return machine.pop(),
            opcode => machine.step(opcode)?,
        }
    }
    Err(CheckpointError::TooLarge { what: "pickle instructions", limit: MAX_INSTRUCTIONS })
}

struct Machine<'r, 'a> {
    reader: &'r mut Reader<'a>,
    heap: &'r mut Heap<'a>,
    /// Where the current instruction starts.
    offset: usize,
    stack: Vec<Value<'a>>,
    /// Heights of the stack at which a `MARK` stands.
    marks: Vec<usize>,
    memo: HashMap<u32, Value<'a>>,
}

impl<'a> Machine<'_, 'a> {
    fn step(&mut self, opcode: u8) -> Result<(), CheckpointError> {
        match opcode {
            PROTO => drop(self.reader.byte()?),
            MARK => self.marks.push(self.stack.len()),
            NONE => self.stack.push(Value::None),
            NEWTRUE => self.stack.push(Value::Bool(true)),
            NEWFALSE => self.stack.push(Value::Bool(false)),
            BININT | BININT1 | BININT2 | LONG1 => {
                let value = self.int(opcode)?;
                self.stack.push(Value::Int(value));
            }
            BINFLOAT => {
                self.reader.take(8)?;
                self.stack.push(Value::Float);
            }
            BINUNICODE => {
                let length = u32::from_le_bytes(self.reader.array()?) as usize;
                let text = self.reader.text(length)?;
                self.stack.push(Value::Text(text));
            }
            SHORT_BINSTRING => {
                let length = self.reader.byte()?.into();
                let text = self.reader.text(length)?;
                self.stack.push(Value::Text(text));
            }
            EMPTY_TUPLE | TUPLE | TUPLE1 | TUPLE2 | TUPLE3 => {
                let items = self.tuple_items(opcode)?;
                let tuple = self.heap.tuple(items);
                self.stack.push(tuple);
            }
            EMPTY_LIST => self.stack.push(self.heap.list()),
            APPEND | APPENDS => self.append(opcode)?,
            EMPTY_DICT => self.stack.push(self.heap.dict()),
            SETITEM | SETITEMS => self.set_items(opcode)?,
            BINPUT | LONG_BINPUT => {
                let index = self.index(opcode == LONG_BINPUT)?;
                self.memo.insert(index, self.top()?);
            }
            BINGET | LONG_BINGET => {
                let index = self.index(opcode == LONG_BINGET)?;
                let value = self.memo.get(&index).copied();
                let offset = self.offset;
                self.stack.push(value.ok_or(CheckpointError::Memo { offset, index })?);
            }
            GLOBAL => self.global()?,
            REDUCE => self.reduce()?,
            BUILD => self.build()?,
            BINPERSID => {
                let id = self.pop()?;
                let storage = global::storage(id, self.heap, self.offset)?;
                self.stack.push(storage);
            }
            _ => return Err(self.refuse(opcode)),
        }
        Ok(())
    }

    fn refuse(&self, opcode: u8) -> CheckpointError {
        let opcode = opcode_name(opcode).map_or_else(|| format!("{opcode:#04x}"), String::from);
        CheckpointError::Opcode { offset: self.offset, opcode }
    }

    fn operand(&self, expected: &'static str, found: &'static str) -> CheckpointError {
        CheckpointError::Operand { offset: self.offset, expected, found }
    }

    /// The uppermost value; values below the last mark are out of reach.
    fn top(&self) -> Result<Value<'a>, CheckpointError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&value) if self.stack.len() > floor => Ok(value),
            _ => Err(self.operand("a value", "an empty stack")),
        }
    }

    fn pop(&mut self) -> Result<Value<'a>, CheckpointError> {
        let value = self.top()?;
        self.stack.pop();
        Ok(value)
    }

    /// The values above the last mark, which is taken away as well.
    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, CheckpointError> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => Err(self.operand("a mark", "none")),
        }
    }

    fn int(&mut self, opcode: u8) -> Result<i64, CheckpointError> {
        match opcode {
            BININT => Ok(i32::from_le_bytes(self.reader.array()?).into()),
            BININT1 => Ok(self.reader.byte()?.into()),
            BININT2 => Ok(u16::from_le_bytes(self.reader.array()?).into()),
            _ => self.long(),
        }
    }

    /// An integer of any length in two's complement; up to eight bytes fit.
    fn long(&mut self) -> Result<i64, CheckpointError> {
        let bytes = usize::from(self.reader.byte()?);
        let raw = self.reader.take(bytes)?;
        let negative = raw.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = if negative { [0xff; 8] } else { [0; 8] };
        match wide.get_mut(..bytes) {
            Some(low) => low.copy_from_slice(raw),
            None => return Err(CheckpointError::Integer { offset: self.offset, bytes }),
        }
        Ok(i64::from_le_bytes(wide))
    }

    fn tuple_items(&mut self, opcode: u8) -> Result<Vec<Value<'a>>, CheckpointError> {
        let count = match opcode {
            TUPLE => return self.pop_to_mark(),
            TUPLE1 => 1,
            TUPLE2 => 2,
            TUPLE3 => 3,
            _ => 0,
        };
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        items.reverse();
        Ok(items)
    }

    fn append(&mut self, opcode: u8) -> Result<(), CheckpointError> {
        let items = if opcode == APPEND { vec![self.pop()?] } else { self.pop_to_mark()? };
        match self.top()? {
            Value::List(list) => self.heap.sequences[list].extend(items),
            other => return Err(self.operand("a list", other.kind())),
        }
        Ok(())
    }

    fn set_items(&mut self, opcode: u8) -> Result<(), CheckpointError> {
        let items = if opcode == SETITEM {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_to_mark()?
        };
        let (pairs, []) = items.as_chunks() else {
            return Err(self.operand("pairs of keys and values", "a key without value"));
        };
        match self.top()? {
            Value::Dict(dict) => self.heap.dicts[dict].extend(pairs.iter().map(|&[k, v]| (k, v))),
            other => return Err(self.operand("a dictionary", other.kind())),
        }
        Ok(())
    }

    fn index(&mut self, long: bool) -> Result<u32, CheckpointError> {
        match long {
            true => Ok(u32::from_le_bytes(self.reader.array()?)),
            false => Ok(self.reader.byte()?.into()),
        }
    }

    fn global(&mut self) -> Result<(), CheckpointError> {
        let (module, name) = (self.reader.line()?, self.reader.line()?);
        let global = Global::find(module, name).ok_or_else(|| CheckpointError::Global {
            offset: self.offset,
            name: format!("{module}.{name}"),
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), CheckpointError> {
        let (args, callee) = (self.pop()?, self.pop()?);
        let built = match (callee, args) {
            (Value::Global(global), Value::Tuple(args)) => global.call(args, self.heap),
            _ => return Err(self.operand("a global and a tuple", callee.kind())),
        };
        self.stack.push(built.ok_or_else(|| self.operand("fitting arguments", "others"))?);
        Ok(())
    }

    fn build(&mut self) -> Result<(), CheckpointError> {
        let attributes = self.pop()?;
        match (self.top()?, attributes) {
            (Value::Dict(_), Value::Dict(_)) => Ok(()),
            (Value::Dict(_), other) => Err(self.operand("attributes", other.kind())),
            _ => Err(self.refuse(BUILD)),
        }
    }
}
