//! dhow-image: references, archives and streams.

mod hostile;
mod killed;
mod layers;
mod leave;
mod login;
mod pipes;
mod pull;
mod push;
mod refused;
mod registries;
mod sha512;
mod shared;
mod skopeo;
mod store;
mod transports;
mod unpack;
