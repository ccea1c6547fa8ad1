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

use super::data::Epoch;

/// What a first event says.
const FILE_VERSION: &str = "brain.Event:2";

/// What is added to a turned checksum.
const MASK_DELTA: u32 = 0xa282_ead8;

/// The event file of a stage's epochs.
pub(super) fn events(epochs: &[Epoch]) -> Vec<u8> {
    let first = Message::default().double(1, 0.0).bytes(3, FILE_VERSION.as_bytes());
    let mut file = record(&first.0);
    for epoch in epochs {
        file.extend(record(&event(epoch).0));
    }
    file
}

fn event(epoch: &Epoch) -> Message {
    let summary = scalars(epoch).into_iter().fold(Message::default(), |summary, (tag, value)| {
        let value = Message::default().bytes(1, tag.as_bytes()).float(2, value as f32);
        summary.bytes(1, &value.0)
    });
    Message::default().double(1, epoch.seconds).varint(2, epoch.epoch as u64).bytes(5, &summary.0)
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

/// A message of protocol buffers, field after field.
#[derive(Default)]
struct Message(Vec<u8>);

/// How the length of a field's value is told.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    EightBytes = 1,
    Length = 2,
    FourBytes = 5,
}

impl Message {
    fn varint(self, field: u64, value: u64) -> Self {
        self.key(field, Wire::Varint).number(value)
    }

    fn double(self, field: u64, value: f64) -> Self {
        self.key(field, Wire::EightBytes).raw(&value.to_le_bytes())
    }

    fn float(self, field: u64, value: f32) -> Self {
        self.key(field, Wire::FourBytes).raw(&value.to_le_bytes())
    }

    fn bytes(self, field: u64, value: &[u8]) -> Self {
        self.key(field, Wire::Length).number(value.len() as u64).raw(value)
    }

    fn key(self, field: u64, wire: Wire) -> Self {
        self.number(field << 3 | wire as u64)
    }

    /// Seven bits to a byte, the lowest first; all bytes but the last have the highest bit.
    fn number(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }
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
    fn numbers_have_seven_bits_to_a_byte() {
        assert_eq!(Message::default().varint(2, 300).0, [0x10, 0xac, 0x02]);
        assert_eq!(Message::default().bytes(5, b"ab").0, [0x2a, 2, b'a', b'b']);
        assert_eq!(Message::default().float(2, 1.0).0, [0x15, 0, 0, 0x80, 0x3f]);
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
        let python = std::env::var("EC2T_PYTHON").unwrap_or("python3".to_owned());
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
