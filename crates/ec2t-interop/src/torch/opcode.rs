//! Pickle's instructions: the few that build data, and the names of the rest.

/// Declares the accepted instructions as constants, and the names of all.
macro_rules! opcodes {
    (accepted { $($name:ident = $code:literal,)* } refused { $($other:ident = $refused:literal,)* }) => {
        $(pub(super) const $name: u8 = $code;)*

        /// Name of an instruction as in Python's `pickletools`.
        pub(super) fn opcode_name(code: u8) -> Option<&'static str> {
            match code {
                $($code => Some(stringify!($name)),)*
                $($refused => Some(stringify!($other)),)*
                _ => None,
            }
        }
    };
}

opcodes! {
    accepted {
        PROTO = 0x80, STOP = b'.', MARK = b'(',
        NONE = b'N', NEWTRUE = 0x88, NEWFALSE = 0x89,
        BININT = b'J', BININT1 = b'K', BININT2 = b'M', LONG1 = 0x8a, BINFLOAT = b'G',
        BINUNICODE = b'X', SHORT_BINSTRING = b'U',
        EMPTY_TUPLE = b')', TUPLE = b't', TUPLE1 = 0x85, TUPLE2 = 0x86, TUPLE3 = 0x87,
        EMPTY_LIST = b']', APPEND = b'a', APPENDS = b'e',
        EMPTY_DICT = b'}', SETITEM = b's', SETITEMS = b'u',
        BINPUT = b'q', LONG_BINPUT = b'r', BINGET = b'h', LONG_BINGET = b'j',
        GLOBAL = b'c', REDUCE = b'R', BUILD = b'b', BINPERSID = b'Q',
    }
    refused {
        POP = b'0', POP_MARK = b'1', DUP = b'2', FLOAT = b'F', INT = b'I', LONG = b'L',
        LONG4 = 0x8b, PERSID = b'P', STRING = b'S', BINSTRING = b'T', UNICODE = b'V',
        SHORT_BINUNICODE = 0x8c, BINUNICODE8 = 0x8d, BINBYTES = b'B', SHORT_BINBYTES = b'C',
        BINBYTES8 = 0x8e, BYTEARRAY8 = 0x96, LIST = b'l', DICT = b'd', EMPTY_SET = 0x8f,
        ADDITEMS = 0x90, FROZENSET = 0x91, GET = b'g', PUT = b'p', MEMOIZE = 0x94,
        INST = b'i', OBJ = b'o', NEWOBJ = 0x81, NEWOBJ_EX = 0x92, STACK_GLOBAL = 0x93,
        EXT1 = 0x82, EXT2 = 0x83, EXT4 = 0x84, FRAME = 0x95, NEXT_BUFFER = 0x97,
        READONLY_BUFFER = 0x98,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_of_protocol_5_has_a_name() {
        assert_eq!((0..=255).filter_map(opcode_name).count(), 68);
        assert_eq!(opcode_name(b'o'), Some("OBJ"));
        assert_eq!(opcode_name(0xff), None);
    }
}
