//! Networks with repeatable random tensors, and a plain interpreter for them.

mod graphs;
mod interpreter;

use std::collections::BTreeMap;

use ec2t_format::graph::{Param, ParamKind, Role};
use ec2t_format::{DenseTensor, Graph, Network, Tensor, TernaryTensor};

pub(crate) use graphs::{branches, efficientnet, expanding, lenet, micronet, resnet};
pub(crate) use interpreter::{interpret, interpret_all};

/// Repeatable values that look random (Knuth's multiplicative generator).
pub(crate) struct Values(pub(crate) u64);

impl Values {
    /// Uniform in −1…1.
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn floats(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.next()).collect()
    }
}

/// A network with this graph; layers in the body are ternary.
pub(crate) fn network(graph: Graph) -> Network {
    let mut values = Values(7);
    let roles = graph.roles();
    let tensors: BTreeMap<String, Tensor> = graph
        .params()
        .iter()
        .map(|param| {
            let ternary = roles[param.node.index()] == Some(Role::Body);
            (param.name.clone(), tensor(param, ternary, &mut values))
        })
        .collect();
    Network::new(graph, tensors).unwrap()
}

fn tensor(param: &Param, ternary: bool, values: &mut Values) -> Tensor {
    let fan_in: usize = param.shape.iter().skip(1).product();
    let size = 2.0 / (fan_in as f32).sqrt();
    let data = values.floats(param.numel());
    if param.kind == ParamKind::Weight && ternary {
        let code = |v: &f32| if v.abs() < 0.6 { 0 } else { v.signum() as i8 };
        let codes = data.iter().map(code).collect();
        return TernaryTensor::new(param.shape.clone(), codes, size, 1.2 * size).unwrap().into();
    }
    let value = |v: f32| match param.kind {
        ParamKind::Weight => v * size,
        ParamKind::Scale | ParamKind::NormWeight | ParamKind::RunningVar => 1.0 + 0.5 * v,
        _ => 0.3 * v,
    };
    DenseTensor::new(param.shape.clone(), data.into_iter().map(value).collect()).unwrap().into()
}

/// A network of each kind.
pub(crate) fn all() -> Vec<Network> {
    [lenet(), resnet(), efficientnet(), micronet(), branches()].map(network).into()
}
