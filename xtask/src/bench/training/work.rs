//! What is compared, with whom.

/// A row of the comparison.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    /// Images of a repetition, and whether they are CIFAR-10's.
    pub(super) images: Option<(u32, bool)>,
}

/// How a row is measured; the words are what peers are asked for.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Time of ec2t and of PyTorch in each of its settings.
    Time(&'static str),
    /// Memory of processes that do this work and nothing else.
    Memory(&'static str),
    /// Time of ec2t with all threads and with one.
    Threads(&'static str),
    /// Time of a work of ec2t and of another one.
    Own(&'static str, &'static str),
}

/// All rows, in the order of the table.
pub(super) const ROWS: [Row; 10] = [
    Row {
        name: "resnet20-step",
        title: "ResNet-20 step, batch 128",
        kind: Kind::Time("resnet20-step"),
        images: Some((128, true)),
    },
    Row {
        name: "resnet20-forward",
        title: "ResNet-20 forward, train mode, batch 128",
        kind: Kind::Time("resnet20-forward"),
        images: Some((128, false)),
    },
    Row {
        name: "mobilenet-block",
        title: "MobileNetV2 block 16→96→16 @16², forward + backward, batch 128",
        kind: Kind::Time("mobilenet-block"),
        images: None,
    },
    Row {
        name: "depthwise-3x3",
        title: "depthwise 3×3, C 96 @16², forward + backward, batch 128",
        kind: Kind::Time("depthwise-3x3"),
        images: None,
    },
    Row {
        name: "depthwise-5x5",
        title: "depthwise 5×5, C 96 @16², forward + backward, batch 128",
        kind: Kind::Time("depthwise-5x5"),
        images: None,
    },
    Row {
        name: "efficientnet-b0-step",
        title: "EfficientNet-B0 step, 224², batch 16",
        kind: Kind::Time("efficientnet-b0-step"),
        images: Some((16, false)),
    },
    Row {
        name: "ec2t",
        title: "EC2T step over Adam step, ResNet-20, batch 128",
        kind: Kind::Own("ec2t-step", "adam-step"),
        images: Some((128, true)),
    },
    Row {
        name: "memory",
        title: "ResNet-20 step, batch 128, peak memory",
        kind: Kind::Memory("resnet20-step"),
        images: None,
    },
    Row {
        name: "threads",
        title: "ResNet-20 step, batch 128, with 1 thread over with all",
        kind: Kind::Threads("resnet20-step"),
        images: None,
    },
    Row {
        name: "processors",
        title: "loop in registers, with 1 thread over with all: what the machine gives",
        kind: Kind::Threads("registers"),
        images: None,
    },
];

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Ec2t,
    Torch,
    /// PyTorch with a malloc that keeps the pages it has, as our engine keeps its
    /// buffers.
    TunedTorch,
}

/// Settings of PyTorch: what they are called, who has them, what they add to a
/// request.
pub(super) const TORCH: [(&str, Side, &str); 4] = [
    ("PyTorch", Side::Torch, ""),
    ("PyTorch, channels last", Side::Torch, " channels_last"),
    ("PyTorch, malloc tuned", Side::TunedTorch, ""),
    ("PyTorch, channels last, malloc tuned", Side::TunedTorch, " channels_last"),
];

/// glibc's settings for [`Side::TunedTorch`]: no block is mapped by itself, and
/// nothing is given back.
pub(super) const TUNED_MALLOC: [(&str, &str); 3] = [
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "100000000000"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// One who takes part in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contender {
    pub(super) label: String,
    pub(super) side: Side,
    pub(super) threads: usize,
    /// The line that it is asked with.
    pub(super) request: String,
}

impl Contender {
    fn ec2t(label: &str, threads: usize, work: &str) -> Self {
        Self { label: label.into(), side: Side::Ec2t, threads, request: work.into() }
    }
}

impl Kind {
    /// Those who take part, when `threads` may be used.
    pub(super) fn contenders(&self, threads: usize) -> Vec<Contender> {
        match *self {
            Kind::Time(work) | Kind::Memory(work) => {
                let torch = TORCH.map(|(label, side, option)| Contender {
                    label: label.into(),
                    side,
                    threads,
                    request: format!("{work}{option}"),
                });
                [Contender::ec2t("ec2t", threads, work)].into_iter().chain(torch).collect()
            }
            Kind::Threads(work) => vec![
                Contender::ec2t(&format!("{threads} threads"), threads, work),
                Contender::ec2t("1 thread", 1, work),
            ],
            Kind::Own(work, base) => {
                vec![Contender::ec2t(work, threads, work), Contender::ec2t(base, threads, base)]
            }
        }
    }

    /// Whether the ratio is what the others need over what the first one needs: how
    /// many times as good it is. Else it is the other way round.
    pub(super) fn others_over_first(&self) -> bool {
        matches!(self, Kind::Time(_) | Kind::Threads(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ec2t_meets_pytorch_in_all_settings() {
        let contenders = Kind::Time("a-step").contenders(2);
        let requests: Vec<_> = contenders.iter().map(|c| (c.side, c.request.as_str())).collect();
        let last = "a-step channels_last";
        let expected = [
            (Side::Ec2t, "a-step"),
            (Side::Torch, "a-step"),
            (Side::Torch, last),
            (Side::TunedTorch, "a-step"),
            (Side::TunedTorch, last),
        ];
        assert_eq!(requests, expected);
        assert!(contenders.iter().all(|contender| contender.threads == 2));
    }

    #[test]
    fn threads_are_compared_on_our_side_alone() {
        let contenders = Kind::Threads("a-step").contenders(4);
        let threads: Vec<_> = contenders.iter().map(|c| (c.side, c.threads)).collect();
        assert_eq!(threads, [(Side::Ec2t, 4), (Side::Ec2t, 1)]);
    }
}
