//! Training as event files of TensorBoard, one for each stage.
//!
//! A file is a list of records, each a length, the length's checksum, data and the data's
//! checksum: [TFRecord](https://www.tensorflow.org/tutorials/load_data/tfrecord), all numbers
//! little endian. The checksum is CRC-32C, turned by 15 bits and moved by a constant, so that
//! checksums of data with checksums in them are no worse. Data are protocol buffers,
//! `tensorflow.Event` of `event.proto` and `summary.proto`; of their fields only those below
//! are written:
//!
//! | message | field | number, type |
//! |---|---|---|
//! | `Event` | `wall_time` | 1, double: seconds of training so far |
//! | | `step` | 2, varint: the epoch |
//! | | `file_version` | 3, string; the first event's only field besides the time |
//! | | `summary` | 5, message |
//! | `Summary` | `value` | 1, message, repeated |
//! | `Summary.Value` | `tag` | 1, string |
//! | | `simple_value` | 2, float |
//!
//! Files are made anew from `events.jsonl`, so the same run gives the same bytes.

use prost::Message;

use super::data::Epoch;

/// What a first event says.
const FILE_VERSION: &str = "brain.Event:2";

/// What is added to a turned checksum.
const MASK_DELTA: u32 = 0xa282_ead8;

/// What happened at a time.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, optional, tag = "1")]
    wall_time: Option<f64>,
    #[prost(uint64, optional, tag = "2")]
    step: Option<u64>,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// A point of a curve.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, optional, tag = "1")]
    tag: Option<String>,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The event file of a stage's epochs.
pub(super) fn events(epochs: &[Epoch]) -> Vec<u8> {
    let version = Some(FILE_VERSION.to_owned());
    let first = Event { wall_time: Some(0.0), file_version: version, ..Event::default() };
    let events = std::iter::once(first).chain(epochs.iter().map(event));
    events.flat_map(|event| record(&event.encode_to_vec())).collect()
}

fn event(epoch: &Epoch) -> Event {
    let value = |(tag, value)| Value { tag: Some(tag), simple_value: Some(value as f32) };
    Event {
        wall_time: Some(epoch.seconds),
        step: Some(epoch.epoch as u64),
        summary: Some(Summary { value: scalars(epoch).into_iter().map(value).collect() }),
        ..Event::default()
    }
}

/// The curves of an epoch, by name. Accuracies are in percent, sparsity is a share.
fn scalars(epoch: &Epoch) -> Vec<(String, f64)> {
    let of_run = [
        ("loss/training", epoch.train_loss),
        ("top1/training", Some(epoch.train_top1)),
        ("top1/validation", Some(epoch.validation_top1)),
        ("lr", Some(epoch.lr)),
        ("sparsity", Some(epoch.sparsity)),
        ("entropy_bits", epoch.entropy_bits),
    ];
    let of_layers = epoch.layers.iter().flat_map(|layer| {
        let [_, zero, _] = layer.shares;
        let values = [
            ("entropy_bits", Some(layer.entropy_bits)),
            ("zeros", Some(zero)),
            ("w_neg", Some(layer.w_neg.into())),
            ("w_pos", Some(layer.w_pos.into())),
            ("lambda", layer.lambda),
        ];
        values.map(|(quantity, value)| (format!("layer_{quantity}/{}", layer.name), value))
    });
    let all = of_run.into_iter().map(|(tag, value)| (tag.to_owned(), value)).chain(of_layers);
    all.filter_map(|(tag, value)| Some((tag, value?))).collect()
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &checksum(&length), data, &checksum(data)].concat()
}

fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(MASK_DELTA).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::report::tests::whole_run;
    use crate::report::{build, write_tensorboard};

    #[test]
    fn checksums_are_turned_and_moved() {
        // The check value of CRC-32C: 0xe3069283 of "123456789".
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        let turned = 0x2507_c60d_u32; // by 15 bits to the right
        assert_eq!(checksum(b"123456789"), turned.wrapping_add(0xa282_ead8).to_le_bytes());
    }

    #[test]
    fn fields_have_the_numbers_of_tensorflow() {
        let event = Event { step: Some(300), file_version: Some("ab".into()), ..Event::default() };
        assert_eq!(event.encode_to_vec(), [0x10, 0xac, 0x02, 0x1a, 2, b'a', b'b']);
        let value = Value { tag: None, simple_value: Some(1.0) };
        assert_eq!(value.encode_to_vec(), [0x15, 0, 0, 0x80, 0x3f]);
    }

    #[test]
    fn records_follow_each_other_to_the_end() {
        let folder = whole_run();
        let report = build(folder.path(), "abc1234").unwrap();
        let file = events(&report.epochs);
        let (mut rest, mut records) = (&file[..], 0);
        while let Some((length, after)) = rest.split_first_chunk::<8>() {
            let data = u64::from_le_bytes(*length) as usize;
            assert_eq!(after[..4], checksum(length));
            assert_eq!(after[4 + data..8 + data], checksum(&after[4..4 + data]));
            rest = &after[8 + data..];
            records += 1;
        }
        assert_eq!((rest.len(), records), (0, 1 + report.epochs.len()));
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "a skipped test says so")]
    fn tbparse_reads_every_scalar() {
        const SCRIPT: &str = "\
import json, sys
from tbparse import SummaryReader
rows = SummaryReader(sys.argv[1]).scalars
print(json.dumps([[int(r.step), r.tag, float(r.value)] for r in rows.itertuples()]))";
        let python = crate::python::program();
        let has_it = Command::new(&python).args(["-c", "import tbparse"]).output();
        if !has_it.is_ok_and(|output| output.status.success()) {
            println!("skipped: {python} has no tbparse; EC2T_PYTHON may name one that has");
            return;
        }
        let folder = whole_run();
        let report = build(folder.path(), "abc1234").unwrap();
        for stage in write_tensorboard(folder.path(), &report).unwrap() {
            let mut expected: Vec<(u64, String, f64)> = Vec::new();
            for epoch in report.epochs.iter().filter(|epoch| stage.ends_with(&epoch.stage)) {
                let scalars = scalars(epoch).into_iter();
                expected.extend(scalars.map(|(t, v)| (epoch.epoch as u64, t, f64::from(v as f32))));
            }
            let output = Command::new(&python).args(["-c", SCRIPT]).arg(&stage).output().unwrap();
            let errors = String::from_utf8_lossy(&output.stderr);
            let found = serde_json::from_slice::<Vec<(u64, String, f64)>>(&output.stdout);
            let mut found = found.unwrap_or_else(|error| panic!("{error}: {errors}"));
            let order =
                |a: &(u64, String, f64), b: &(u64, String, f64)| (a.0, &a.1).cmp(&(b.0, &b.1));
            found.sort_by(order);
            expected.sort_by(order);
            assert_eq!(found, expected, "{}", stage.display());
        }
    }
}
