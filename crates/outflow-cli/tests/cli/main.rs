//! The binary as people meet it: what it prints, where, and how it ends.

mod support;

mod bad_input;
mod init;
mod verbs;
