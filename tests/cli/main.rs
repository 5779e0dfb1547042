//! The command line as its users meet it: the real binary against a real server.

mod commands;
mod failures;
mod harness;
mod importing;
mod listing;
mod main_job;
mod pipeline;
