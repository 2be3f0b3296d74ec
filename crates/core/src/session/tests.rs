//! What a process does about its leases and waiters, claim by claim, on virtual time against the rules of a group.

mod holding;
mod introduced;
mod keeping;
mod linking;
mod passing;
mod rig;
mod unheard;
mod unwanted;
mod waiting;
