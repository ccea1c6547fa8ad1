//! Codec 6: every weight alone.
//!
//! Two decisions: is it not zero, and if so, is it positive. Each of the two
//! questions has a [`Share`], so this stays within a few bytes of the
//! zeroth-order entropy.

use super::adaptive::Share;
use super::range::BitCoder;

pub(super) fn code(coder: &mut impl BitCoder, codes: &mut [i8]) {
    let (mut nonzero, mut positive) = (Share::default(), Share::default());
    for code in codes {
        let found = coder.code(nonzero.p1(), *code != 0);
        nonzero.learn(found);
        *code = match found {
            false => 0,
            true => {
                let sign = coder.code(positive.p1(), *code > 0);
                positive.learn(sign);
                if sign { 1 } else { -1 }
            }
        };
    }
}
