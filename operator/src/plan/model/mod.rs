//! A small model of a cluster, in which plans are carried out among faults, and the claims of `plan`'s head are tried:
//! plans come to rest, a cluster is made once, no step takes a healthy majority away, and a spec that lets every pod
//! start is reached.
//!
//! [`world`] is what there is, [`views`] what the operator sees of it, [`steps`] what its plans do to it, [`nature`] what
//! happens by itself: pods start, leaders are elected, and the StatefulSet controller does what it does.

mod nature;
mod places;
mod random;
mod reach;
mod steps;
mod stories;
mod views;
mod world;

use world::{Ailment, Behaviour, Fault, GOOD, Pod, Set, Volume, World};
