//! dhow-image: references, archives and streams.

mod crane;
mod crash;
mod edit;
mod gc;
mod hostile;
mod hostile_registry;
mod killed;
mod layers;
mod leave;
mod login;
mod mount;
mod pipes;
mod power;
mod pull;
mod push;
mod recode;
mod refused;
mod registries;
mod registry_verbs;
mod sha512;
mod shared;
mod skopeo;
mod store;
mod transports;
mod unpack;
mod verify;
