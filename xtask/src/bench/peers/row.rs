//! What is compared, with whom.

/// A network and the number of images that it is given at a time; together, what a
/// peer is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Work {
    pub(super) network: String,
    pub(super) images: usize,
}

impl Work {
    /// What peers are asked, such as `time resnet20-64 1`.
    pub(super) fn request(&self, verb: &str) -> String {
        format!("{verb} {} {}", self.network, self.images)
    }
}

/// A row of the comparison.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) work: Work,
    pub(super) others: Others,
    /// Rows of the same group have a geometric mean of their ratios.
    pub(super) group: Option<String>,
}

/// Who is compared with our engine on one thread.
#[derive(Clone, Copy, Debug)]
pub(super) enum Others {
    /// Other programs.
    Programs(&'static [&'static Program]),
    /// Our engine on two threads.
    TwoThreads,
}

/// A program as `xtask/peers/inference.py` knows it.
#[derive(Debug, PartialEq)]
pub(super) struct Program {
    pub(super) label: &'static str,
    /// What the script calls it.
    pub(super) word: &'static str,
    /// Whether it chooses ranges from images beforehand.
    pub(super) calibrated: bool,
    /// How far outputs may be from ours, over the largest of ours.
    pub(super) tolerance: f64,
}

/// For sums of 32-bit floats in another order, and Winograd's transforms.
const FLOATS: f64 = 1e-4;
/// For activations and weights rounded to 8 bits, layer after layer. It catches another
/// network, not a bad choice of ranges.
const INTEGERS: f64 = 0.25;

const fn floats(label: &'static str, word: &'static str) -> Program {
    Program { label, word, calibrated: false, tolerance: FLOATS }
}

static ONNXRUNTIME: Program = floats("onnxruntime", "onnxruntime");
static ONNXRUNTIME_INT8: Program = Program {
    label: "onnxruntime, int8",
    word: "onnxruntime-int8",
    calibrated: true,
    tolerance: INTEGERS,
};
static MNN: Program = floats("MNN", "mnn");
static MNN_SPARSE: Program = floats("MNN, sparse", "mnn-sparse");
static NCNN: Program = floats("ncnn", "ncnn");
static TORCH: Program = floats("PyTorch", "torch");
static TORCH_CHANNELS_LAST: Program = floats("PyTorch, channels last", "torch-channels-last");

/// Dense programs.
static DENSE: [&Program; 5] = [&ONNXRUNTIME, &MNN, &NCNN, &TORCH, &TORCH_CHANNELS_LAST];
/// And one that looks for zeros: its converter takes effect on these networks.
static ALL: [&Program; 6] = [&ONNXRUNTIME, &MNN, &MNN_SPARSE, &NCNN, &TORCH, &TORCH_CHANNELS_LAST];
static INT8: [&Program; 1] = [&ONNXRUNTIME_INT8];

/// Channels of input and output, rows and columns of the 1×1 convolutions: layers of
/// EfficientNet-Lite0 from the last to an early one.
const CONVS: [[usize; 3]; 4] = [[320, 1280, 7], [672, 112, 14], [240, 80, 14], [96, 24, 56]];

/// All rows, in the order of the table.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = vec![
        programs("resnet20-45-authors", 1, &ALL, "ResNet-20 of the authors, 45 % zeros"),
        programs("resnet20-64-authors", 1, &ALL, "ResNet-20 of the authors, 64 % zeros"),
        programs("resnet20-64", 1, &ALL, "ResNet-20, 64 % zeros"),
        programs("resnet20-73", 1, &ALL, "ResNet-20, 73 % zeros"),
        programs("resnet20-90", 1, &ALL, "ResNet-20, 90 % zeros, some at random"),
        programs("resnet20-64", 64, &ALL, "ResNet-20, 64 % zeros, 64 images"),
        int8("resnet20-64", 1, "ResNet-20, 64 % zeros, in integers"),
        int8("resnet20-64", 64, "ResNet-20, 64 % zeros, 64 images, in integers"),
    ];
    for zeros in [45, 64, 90] {
        rows.extend(CONVS.map(|conv| convolution(conv, zeros)));
    }
    for zeros in [64, 90] {
        let network = format!("efficientnet_lite0-{zeros}");
        let title = format!("EfficientNet-Lite0, 224², {zeros} % zeros in 1×1 layers");
        rows.push(programs(&network, 1, &DENSE, &title));
    }
    rows.extend([
        threads("resnet20-64", 1, "ResNet-20, 64 % zeros: 1 thread over 2"),
        threads("resnet20-64", 64, "ResNet-20, 64 % zeros, 64 images: 1 thread over 2"),
        programs("rectifier", 1, &DENSE, "a rectifier of one value: what a call costs"),
    ]);
    rows
}

fn new(kind: &str, network: &str, images: usize, others: Others, title: &str) -> Row {
    let batch = if images == 1 { String::new() } else { format!("-x{images}") };
    Row {
        name: format!("{network}{batch}{kind}"),
        title: title.into(),
        work: Work { network: network.into(), images },
        others,
        group: None,
    }
}

fn programs(
    network: &str,
    images: usize,
    programs: &'static [&'static Program],
    title: &str,
) -> Row {
    new("", network, images, Others::Programs(programs), title)
}

fn int8(network: &str, images: usize, title: &str) -> Row {
    let row = new("-int8", network, images, Others::Programs(&INT8), title);
    Row { work: Work { network: format!("{network}-u8"), images }, ..row }
}

fn threads(network: &str, images: usize, title: &str) -> Row {
    new("-threads", network, images, Others::TwoThreads, title)
}

fn convolution([inputs, outputs, side]: [usize; 3], zeros: usize) -> Row {
    let network = format!("conv-{inputs}-{outputs}-{side}-{zeros}");
    let title = format!("1×1, {inputs} → {outputs} @{side}², {zeros} % zeros");
    let group = Some(format!("1×1, {zeros} % zeros"));
    Row { group, ..programs(&network, 1, &DENSE, &title) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        let rows = rows();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len(), "{names:?}");
        for name in ["resnet20-64-x64", "resnet20-64-int8", "conv-96-24-56-90"] {
            assert!(names.contains(name), "{names:?}");
        }
    }

    #[test]
    fn each_share_of_zeros_has_a_group_of_all_convolutions() {
        let rows = rows();
        let in_group =
            |group: &str| rows.iter().filter(|row| row.group.as_deref() == Some(group)).count();
        let groups = ["1×1, 45 % zeros", "1×1, 64 % zeros", "1×1, 90 % zeros"];
        assert_eq!(groups.map(in_group), [CONVS.len(); 3]);
        assert_eq!(rows.iter().filter(|row| row.group.is_some()).count(), 3 * CONVS.len());
    }

    #[test]
    fn a_request_has_a_verb_a_network_and_a_number_of_images() {
        let work = Work { network: "resnet20-64".into(), images: 64 };
        assert_eq!(work.request("time"), "time resnet20-64 64");
    }
}
