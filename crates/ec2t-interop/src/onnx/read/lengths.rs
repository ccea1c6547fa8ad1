//! Lengths of dimensions, computed by models whose batch is of any size.

use super::super::error::OnnxError;
use super::reader::{Form, Reader, Value};
use super::settings::Settings;

/// Most dimensions of a value.
const MAX_RANK: usize = 8;

/// The length of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// The number of images.
    Batch,
    Known(i64),
}

impl<'a> Reader<'a> {
    /// The lengths of a layer's value.
    pub(super) fn lengths_of(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let layer = self.operand(node, 0)?;
        let shape = self.shape(layer);
        let sizes = match layer.form {
            Form::Map => vec![shape.channels, shape.height, shape.width],
            Form::Vector => vec![shape.channels],
        };
        let known = sizes.into_iter().map(|size| Length::Known(size as i64));
        let lengths: Vec<Length> = std::iter::once(Length::Batch).chain(known).collect();
        let rank = lengths.len() as i64;
        let bound = |value: i64| (if value < 0 { value + rank } else { value }).clamp(0, rank);
        let [start, end] =
            [("start", 0), ("end", rank)].map(|(name, default)| bound(node.int(name, default)));
        let lengths = lengths.get(start as usize..end as usize).unwrap_or_default().to_vec();
        self.set(node.output(), Value::Lengths(lengths));
        Ok(())
    }

    /// Some of the lengths that a node reads, if it reads lengths.
    pub(super) fn select_lengths(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let lengths = self.lengths(node, 0)?;
        let selected = match node.operator() {
            "Gather" => {
                let at = self.ints(node, "", 1)?.unwrap_or_default();
                let rank = lengths.len() as i64;
                let at = at.iter().map(|&at| if at < 0 { at.saturating_add(rank) } else { at });
                at.map(|at| lengths.get(usize::try_from(at).ok()?).copied()).collect()
            }
            _ => self.sliced(node, &lengths)?,
        };
        let selected = selected.ok_or_else(|| node.unsupported("there are no such lengths"))?;
        self.set(node.output(), Value::Lengths(selected));
        Ok(())
    }

    fn sliced(
        &self,
        node: Settings<'a>,
        lengths: &[Length],
    ) -> Result<Option<Vec<Length>>, OnnxError> {
        let [starts, ends, steps] = [("starts", 1), ("ends", 2), ("", 4)]
            .map(|(name, position)| self.ints(node, name, position));
        let (Some(starts), Some(ends)) = (starts?, ends?) else { return Ok(None) };
        let (&[start], &[end]) = (&starts[..], &ends[..]) else { return Ok(None) };
        if steps?.is_some_and(|steps| steps != [1]) {
            return Ok(None);
        }
        let rank = lengths.len() as i64;
        let [start, end] = [start, end]
            .map(|at| if at < 0 { at.saturating_add(rank) } else { at }.clamp(0, rank) as usize);
        Ok(lengths.get(start..end).map(<[Length]>::to_vec))
    }

    /// Lists of lengths, one after the other.
    pub(super) fn join_lengths(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let mut joined = Vec::new();
        for position in 0..node.0.input.len() {
            joined.extend(self.lengths(node, position)?);
            if joined.len() > MAX_RANK {
                return Err(node.unsupported(format!("more than {MAX_RANK} lengths")));
            }
        }
        self.set(node.output(), Value::Lengths(joined));
        Ok(())
    }

    /// The lengths, or integers, that a node reads.
    pub(super) fn lengths(
        &self,
        node: Settings<'a>,
        position: usize,
    ) -> Result<Vec<Length>, OnnxError> {
        if self.constant(node, position).is_some() {
            let ints = self.ints(node, "", position)?.unwrap_or_default();
            return Ok(ints.into_iter().map(Length::Known).collect());
        }
        match self.value(node, position)? {
            Value::Lengths(lengths) => Ok(lengths.clone()),
            _ => Err(node.unsupported("of what layers compute: no layer does this")),
        }
    }

    /// `[N, C, H, W]` to `[N, C·H·W]`, which is flattening, or to itself.
    pub(super) fn reshape(&mut self, node: Settings<'a>) -> Result<(), OnnxError> {
        let target = match node.ints("shape") {
            Some(ints) => ints.iter().copied().map(Length::Known).collect(),
            None => self.lengths(node, 1)?,
        };
        let layer = self.operand(node, 0)?;
        let shape = self.shape(layer);
        let is_batch = |length: Length| matches!(length, Length::Batch | Length::Known(-1..=1));
        let is = |length: Length, size: usize| {
            length == Length::Known(-1) || length == Length::Known(size as i64)
        };
        let same = |length, size| length == Length::Known(0) || is(length, size);
        let inferred = target.iter().filter(|length| **length == Length::Known(-1)).count();
        match target[..] {
            [batch, all] if inferred < 2 && is_batch(batch) && is(all, shape.numel()) => {
                self.flatten(node, layer);
                Ok(())
            }
            [batch, c, h, w]
                if inferred < 2
                    && is_batch(batch)
                    && same(c, shape.channels)
                    && same(h, shape.height)
                    && same(w, shape.width) =>
            {
                self.alias(node, layer.id, Form::Map);
                Ok(())
            }
            _ => Err(node.unsupported(format!("{shape} to {target:?}"))),
        }
    }
}
