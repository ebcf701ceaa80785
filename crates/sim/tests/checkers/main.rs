//! The checkers against histories that must pass, histories that must fail, and brute force.

mod generate;
mod linearizable;
mod others;
