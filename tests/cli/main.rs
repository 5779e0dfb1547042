//! The command line as its users meet it: the real binary against a real server.

mod backup;
mod build;
mod commands;
mod containerd;
mod failures;
mod harness;
mod history;
mod importing;
mod listing;
mod main_job;
mod oci;
mod pipeline;
mod terminal;
mod verifying;
mod watching;
