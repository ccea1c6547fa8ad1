//! A graph together with the tensors that it names.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::graph::{Graph, GraphError, Param, ParamKind};
use crate::grid::Grid;
use crate::tensor::{DenseTensor, Tensor};

/// A whole network: layers, weights, and whatever else is known about it.
///
/// [`Network::new`] is the only way to make one, so a network always has
/// exactly the tensors that its graph names, in the right shapes.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    graph: Graph,
    tensors: BTreeMap<String, Tensor>,
    grids: BTreeMap<String, Grid>,
    /// Free text about the network: provenance, accuracy, licence.
    pub metadata: BTreeMap<String, String>,
}

/// Tensors that do not fit their graph.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The graph itself is malformed.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The graph names tensors that are not there.
    #[error("missing tensors: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// There are tensors that the graph does not name.
    #[error("unexpected tensors: {}", .0.join(", "))]
    Unexpected(Vec<String>),
    /// A tensor has another shape than its layer.
    #[error("tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Name of the tensor.
        name: String,
        /// What the layer needs.
        expected: Vec<usize>,
        /// What was given.
        found: Vec<usize>,
    },
    /// A ternary tensor where only weights may be ternary.
    #[error("tensor `{0}` is ternary, but only weights of convolutions and linear layers may be")]
    TernarySide(String),
    /// A grid for a layer that there is not.
    #[error("there is no layer `{0}` that a grid could be for")]
    GridLayer(String),
    /// A grid whose numbers have no distance.
    #[error("grid of layer `{layer}`: the scale is {scale}, expected a finite one above zero")]
    GridScale {
        /// Name of the layer.
        layer: String,
        /// What was given.
        scale: f32,
    },
}

impl Network {
    /// Puts tensors to a graph.
    ///
    /// # Errors
    /// Where the graph is malformed, or the tensors are not exactly those that
    /// it names, in their shapes.
    pub fn new(graph: Graph, tensors: BTreeMap<String, Tensor>) -> Result<Self, NetworkError> {
        graph.validate()?;
        let params = graph.params();
        let missing: Vec<String> = params
            .iter()
            .filter(|param| !tensors.contains_key(&param.name))
            .map(|param| param.name.clone())
            .collect();
        if !missing.is_empty() {
            return Err(NetworkError::Missing(missing));
        }
        if tensors.len() != params.len() {
            let known = |name: &&String| !params.iter().any(|param| param.name == **name);
            return Err(NetworkError::Unexpected(tensors.keys().filter(known).cloned().collect()));
        }
        for param in &params {
            check_tensor(param, &tensors[&param.name])?;
        }
        Ok(Self { graph, tensors, grids: BTreeMap::new(), metadata: BTreeMap::new() })
    }

    /// The layers.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// All tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// What bytes stand for that hold the values of these layers, as calibration has found;
    /// empty where there was none.
    ///
    /// They are for networks whose batch normalisations are folded
    /// ([`fold_batch_norm`](crate::fold_batch_norm)): the grid of a layer with such a
    /// normalisation is for what that gives.
    pub fn grids(&self) -> &BTreeMap<String, Grid> {
        &self.grids
    }

    /// The same network with these grids.
    ///
    /// # Errors
    /// Where a grid is for no layer, or its scale is not finite and above zero.
    pub fn with_grids(self, grids: BTreeMap<String, Grid>) -> Result<Self, NetworkError> {
        let known = |layer: &str| self.graph.nodes.iter().any(|node| node.name == layer);
        for (layer, grid) in &grids {
            if !known(layer) {
                return Err(NetworkError::GridLayer(layer.clone()));
            }
            if !grid.is_valid() {
                let (layer, scale) = (layer.clone(), grid.scale);
                return Err(NetworkError::GridScale { layer, scale });
            }
        }
        Ok(Self { grids, ..self })
    }

    /// The same network with the floats that ternary tensors stand for in their place;
    /// without grids, which are for ternary layers.
    pub fn to_dense(&self) -> Self {
        let dense = |tensor: &Tensor| match tensor {
            Tensor::Ternary(ternary) => {
                let floats = DenseTensor::new(ternary.shape().to_vec(), tensor.to_f32());
                floats.expect("a ternary tensor has as many codes as its shape says").into()
            }
            Tensor::Dense(_) => tensor.clone(),
        };
        let tensors = self.tensors.iter().map(|(name, tensor)| (name.clone(), dense(tensor)));
        Self { tensors: tensors.collect(), grids: BTreeMap::new(), ..self.clone() }
    }

    /// Takes the network apart into graph, tensors and metadata; grids are left out.
    pub fn into_parts(self) -> (Graph, BTreeMap<String, Tensor>, BTreeMap<String, String>) {
        (self.graph, self.tensors, self.metadata)
    }

    /// Share of exact zeros among all trained values, 0…1; running statistics
    /// do not count. This is the sparsity that the method's tables report.
    pub fn sparsity(&self) -> f64 {
        let trained = self.graph.params().into_iter().filter(|param| param.kind.is_trainable());
        let (mut zeros, mut total) = (0usize, 0usize);
        for param in trained {
            let tensor = &self.tensors[&param.name];
            zeros += tensor.zeros();
            total += tensor.numel();
        }
        zeros as f64 / total.max(1) as f64
    }

    /// Zeroth-order entropy of the ternary weights in bits per weight: the mean over all
    /// of them, where each layer has shares of its own. None where no layer is ternary.
    pub fn entropy_bits(&self) -> Option<f64> {
        let counts = self.tensors.values().filter_map(|tensor| match tensor {
            Tensor::Ternary(ternary) => Some(ternary.counts()),
            Tensor::Dense(_) => None,
        });
        let (sum, total) = counts.fold((0.0, 0), |(sum, total), counts| {
            (sum + counts.entropy_bits() * counts.total() as f64, total + counts.total())
        });
        (total > 0).then(|| sum / total as f64)
    }

    /// Number of layers whose weights are ternary.
    pub fn ternary_layers(&self) -> usize {
        self.tensors.values().filter(|tensor| matches!(tensor, Tensor::Ternary(_))).count()
    }
}

fn check_tensor(param: &Param, tensor: &Tensor) -> Result<(), NetworkError> {
    if tensor.shape() != param.shape {
        return Err(NetworkError::Shape {
            name: param.name.clone(),
            expected: param.shape.clone(),
            found: tensor.shape().to_vec(),
        });
    }
    match tensor {
        Tensor::Ternary(_) if param.kind != ParamKind::Weight => {
            Err(NetworkError::TernarySide(param.name.clone()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{GraphBuilder, Shape};
    use crate::tensor::{DenseTensor, TernaryTensor};
    use alloc::string::ToString;
    use alloc::vec;

    fn graph() -> Graph {
        let mut g = GraphBuilder::new("t", Shape::new(4, 1, 1));
        g.linear("fc", g.input(), 2);
        g.finish().unwrap()
    }

    fn tensors() -> BTreeMap<String, Tensor> {
        let weight =
            TernaryTensor::new(vec![2, 4], vec![0, 0, 1, -1, 0, 0, 0, 0], 1.0, 1.0).unwrap();
        let bias = DenseTensor::new(vec![2], vec![0.5, 0.25]).unwrap();
        BTreeMap::from([
            ("fc.weight".to_string(), weight.into()),
            ("fc.bias".to_string(), bias.into()),
        ])
    }

    #[test]
    fn sparsity_counts_all_trained_values() {
        assert_eq!(Network::new(graph(), tensors()).unwrap().sparsity(), 0.6);
    }

    #[test]
    fn entropy_is_a_mean_over_ternary_weights() {
        let mut g = GraphBuilder::new("t", Shape::new(4, 1, 1));
        let x = g.linear("even", g.input(), 2);
        g.linear("zeros", x, 1);
        let graph = g.finish().unwrap();
        let bias = |count| DenseTensor::new(vec![count], vec![0.5; count]).unwrap().into();
        let dense = |shape: [usize; 2]| {
            DenseTensor::new(shape.to_vec(), vec![0.5; shape[0] * shape[1]]).unwrap().into()
        };
        let floats = BTreeMap::from([
            ("even.weight".to_string(), dense([2, 4])),
            ("even.bias".to_string(), bias(2)),
            ("zeros.weight".to_string(), dense([1, 2])),
            ("zeros.bias".to_string(), bias(1)),
        ]);
        assert_eq!(Network::new(graph.clone(), floats.clone()).unwrap().entropy_bits(), None);

        // Eight weights of 1 bit and two of none.
        let even = TernaryTensor::new(vec![2, 4], vec![0, 1, 0, 1, 0, 1, 0, 1], 1.0, 1.0).unwrap();
        let zeros = TernaryTensor::new(vec![1, 2], vec![0, 0], 1.0, 1.0).unwrap();
        let mut ternary = floats;
        ternary.insert("even.weight".to_string(), even.into());
        ternary.insert("zeros.weight".to_string(), zeros.into());
        assert_eq!(Network::new(graph, ternary).unwrap().entropy_bits(), Some(0.8));
    }

    #[test]
    fn exactly_the_named_tensors_are_taken() {
        let mut missing = tensors();
        missing.remove("fc.bias");
        assert_eq!(
            Network::new(graph(), missing),
            Err(NetworkError::Missing(vec!["fc.bias".into()]))
        );

        let mut extra = tensors();
        extra.insert("other".into(), DenseTensor::new(vec![1], vec![0.0]).unwrap().into());
        assert_eq!(
            Network::new(graph(), extra),
            Err(NetworkError::Unexpected(vec!["other".into()]))
        );

        let mut wrong = tensors();
        wrong.insert("fc.bias".into(), DenseTensor::new(vec![3], vec![0.0; 3]).unwrap().into());
        assert!(matches!(Network::new(graph(), wrong), Err(NetworkError::Shape { .. })));

        let mut side = tensors();
        let ternary = TernaryTensor::new(vec![2], vec![0, 0], 1.0, 1.0).unwrap();
        side.insert("fc.bias".into(), ternary.into());
        assert_eq!(Network::new(graph(), side), Err(NetworkError::TernarySide("fc.bias".into())));
    }

    #[test]
    fn grids_are_for_layers() {
        let network = || Network::new(graph(), tensors()).unwrap();
        let with = |layer: &str, scale| {
            network().with_grids(BTreeMap::from([(layer.to_string(), Grid { scale, zero: 3 })]))
        };
        assert_eq!(with("fc", 0.5).unwrap().grids()["fc"], Grid { scale: 0.5, zero: 3 });
        assert_eq!(with("other", 0.5), Err(NetworkError::GridLayer("other".into())));
        for scale in [0.0, -1.0, f32::INFINITY] {
            let layer = "fc".to_string();
            assert_eq!(with("fc", scale), Err(NetworkError::GridScale { layer, scale }));
        }
        assert!(matches!(with("fc", f32::NAN), Err(NetworkError::GridScale { .. })));
    }
}
