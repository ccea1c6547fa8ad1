//! What `ec2t scale search` is made of: EfficientNet's and EC2T's first step, from a small
//! network to one that is large enough.
//!
//! | module | what it does |
//! |---|---|
//! | [`point`] | one choice of multipliers: a run of its own inside the run, with a float network |
//! | [`results`] | what came of all points: the best of the grid, table, `search.json` |
//!
//! Nothing here looks at test images: points are compared by validation accuracy.

pub(crate) mod point;
pub(crate) mod results;
