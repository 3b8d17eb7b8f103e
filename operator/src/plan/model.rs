//! Model of a small cluster, in which plans are carried out amid faults. It tests the invariants that `plan` states:
//! plans come to rest, a cluster is initialized once, no step takes a healthy majority away, and a spec that lets every
//! pod start is reached.
//!
//! [`world`] is the state, [`views`] what the operator sees of it, [`steps`] what its plans do to it, [`nature`] what
//! happens by itself: pods start, leaders are elected, and the StatefulSet controller does its work.

mod nature;
mod places;
mod random;
mod reach;
mod steps;
mod stories;
mod views;
mod world;

use world::{Ailment, Behaviour, Fault, GOOD, Pod, Set, Volume, World};
