//! The `.ec2t` file as its users meet it.

mod allocator;
mod edits;
mod golden;
mod grids;
mod hostile;
mod malformed;
mod networks;
mod packed;
mod pieces;
mod reader;
mod ready;
mod round_trip;
