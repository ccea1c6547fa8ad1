//! Checks a file in every way there is.

use alloc::vec::Vec;

use super::budget::{Budget, Limits};
use super::canonical;
use super::contents::Contents;
use super::error::FormatError;
use super::read::read_with;
use super::toc::{Entry, SectionKind, TensorEncoding};
use super::write::write_with;
use crate::network::Network;

/// The network in a file of which all has been checked: what [`read_with`]
/// checks, and that a writer would give the same bytes.
///
/// That includes the choice of codecs, which takes so much longer than reading
/// that readers leave it out. Sections of unknown kinds are not compared, and
/// files of version 1.0, which are not written any more, are only read. The limits
/// hold for reading; writing for comparison takes several times as much.
///
/// ```
/// # use ec2t_format::{DenseTensor, Network, graph::{GraphBuilder, Shape}};
/// # let mut g = GraphBuilder::new("tiny", Shape::new(2, 1, 1));
/// # g.linear("fc", g.input(), 1);
/// # let weight = DenseTensor::new(vec![1, 2], vec![0.5, 0.0])?;
/// # let bias = DenseTensor::new(vec![1], vec![1.0])?;
/// # let tensors = [("fc.weight".into(), weight.into()), ("fc.bias".into(), bias.into())];
/// # let mut file = ec2t_format::write(&Network::new(g.finish()?, tensors.into())?);
/// let limits = ec2t_format::Limits::default();
/// assert!(ec2t_format::verify(&file, &limits).is_ok());
/// file[100] ^= 1;
/// let error = ec2t_format::verify(&file, &limits).unwrap_err();
/// assert_eq!(error.place().unwrap().section, "f32");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first fault of the file.
pub fn verify(file: &[u8], limits: &Limits) -> Result<Network, FormatError> {
    let network = read_with(file, limits)?;
    let found = Contents::open(file, &mut Budget::new(limits))?;
    if !found.version.is_plain() {
        let expected = write_with(&network, found.effort());
        compare(&Contents::open(&expected, &mut Budget::new(limits))?, &found)?;
    }
    Ok(network)
}

/// Insists that sections are as expected. Both files hold the same network, so
/// they have the same sections.
fn compare(expected: &Contents<'_>, found: &Contents<'_>) -> Result<(), FormatError> {
    let is_known = |entry: &Entry<'_>| !matches!(entry.kind, SectionKind::Skipped { .. });
    let found: Vec<_> = found.named_sections().filter(|(_, entry)| is_known(entry)).collect();
    for (expected, (name, found)) in expected.sections.iter().zip(found) {
        if let SectionKind::Tensor(TensorEncoding::Ternary(best)) = expected.kind
            && let SectionKind::Tensor(TensorEncoding::Ternary(codec)) = found.kind
        {
            if best != codec {
                let (place, expected, found) = (found.place(name), expected.len(), found.len());
                return Err(FormatError::OtherCodec { place, codec, found, best, expected });
            }
            // Its zeros depend on what lies before it, such as a section that was skipped.
            // All that it holds was checked when it was read.
            if codec.alignment() > 1 {
                continue;
            }
        }
        canonical::check(&found.place(name), expected.bytes(), found.bytes())?;
    }
    Ok(())
}
