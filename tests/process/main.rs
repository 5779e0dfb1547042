//! The process: how it starts, refuses to start, runs out of disk, and ends.

#[path = "../common/mod.rs"]
mod common;

mod damage;
mod end;
mod full_disk;
mod full_file;
mod mount;
mod start;
