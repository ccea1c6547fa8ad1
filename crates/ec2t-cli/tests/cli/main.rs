//! The program `ec2t` as its users meet it: commands, files, exit codes.

mod bad_input;
mod cifar10;
mod contract;
mod digits;
#[cfg(unix)]
mod interrupted;
mod run_dir;
#[cfg(unix)]
mod streams;
mod util;
