//! The `.ec2t` file as its users meet it.

mod golden;
mod hostile;
mod malformed;
mod networks;
mod packed;
mod pieces;
mod round_trip;
