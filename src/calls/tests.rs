//! The rules, one theme after the other, as tables: events go in, what they do comes out.

mod adoption;
mod effects;
mod names;
mod numbering;
mod orders;
mod release;
pub mod world;
