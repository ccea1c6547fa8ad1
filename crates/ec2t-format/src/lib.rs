//! The network graph, ternary tensors, and the `.ec2t` file that holds both.
//!
//! This crate is the vocabulary of the whole workspace. It knows no training
//! framework, no threads and no SIMD; it is `no_std` (with `alloc`) and has no
//! `unsafe`.
//!
//! | module | what it defines |
//! |---|---|
//! | [`graph`] | a convolutional network as plain data: layers, edges, shapes, preprocessing |
//! | [`tensor`] | dense tensors and [`TernaryTensor`], whose values are −a, 0 or +b |
//! | [`grid`] | what activations of 8 bits stand for |
//! | [`network`] | a graph together with the tensors that it names |
//! | [`codec`] | how ternary codes become bytes |
//! | [`container`] | the `.ec2t` file: [`write()`], [`read`], [`verify`], [`layout()`] |
//! | [`fold`] | batch normalisation made part of the layer before it |
//! | [`stats`] | zeros, entropy and stored bytes of every layer |
//!
//! Layouts: activations are NCHW, convolution weights OIHW (PyTorch's), linear
//! weights `[out, in]`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod container;
pub mod fold;
pub mod graph;
pub mod grid;
pub mod network;
pub mod stats;
pub mod tensor;

pub use codec::CodecId;
pub use container::{
    FormatError, GraphEncoding, Layout, Limits, Section, SectionKind, StoredTensor, TensorEncoding,
    layout, read, read_with, verify, write, write_with,
};
pub use fold::fold_batch_norm;
pub use graph::{Graph, Node, NodeId, Op};
pub use grid::Grid;
pub use network::Network;
pub use tensor::{DenseTensor, Storage, Tensor, TernaryTensor};

/// Compiles and runs what pages for users say of this crate.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/bring-your-own-model.md")]
mod pages {}
