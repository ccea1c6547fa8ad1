//! The program `ec2t` as its users meet it: commands, files, exit codes.
#![cfg(unix)]

mod bad_input;
mod bench;
mod cifar10;
mod compare;
mod contract;
mod digits;
mod doctor;
mod export;
mod grow;
mod interrupted;
mod new_run;
mod pages;
mod results;
mod run_dir;
mod score;
mod search;
mod streams;
mod sweep;
mod thin;
mod util;
