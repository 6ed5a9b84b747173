//! The tests of the checker and the planner, one module for each subject.

mod corpus;
mod details;
mod explain;
mod fuzz;
mod grants;
mod interfaces;
mod mistakes;
mod plans;
mod reference;
