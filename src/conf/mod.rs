//! From the text of confs to resolved specs, with every problem of every file.

mod problem;

pub use problem::Problem;
