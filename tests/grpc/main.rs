//! The native surface, through the real binary, over real sockets.

#[path = "../common/mod.rs"]
mod common;

mod bad_input;
mod images;
mod listing;
mod malformed;
mod namespaces;
mod protocol;
mod victim;
