//! What `ec2t sweep` is made of: a search over the settings that decide how sparse a
//! ternary network becomes.
//!
//! | module | what it does |
//! |---|---|
//! | [`point`] | one choice of settings: a run of its own inside the run, from its float network to its file |
//! | [`results`] | what came of all points: table, Pareto front, means over seeds |
//! | [`bracket`] | where a rising function of one setting crosses a limit, in few steps |
//! | [`goal`] | what a search is after, and whether it has got there |
//!
//! Nothing here looks at test images: points are compared by validation accuracy.

pub(crate) mod bracket;
pub(crate) mod goal;
pub(crate) mod point;
pub(crate) mod results;
