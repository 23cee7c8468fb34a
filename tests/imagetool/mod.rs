//! dhow-image: references, archives and streams.

mod killed;
mod layers;
mod pipes;
mod pull;
mod push;
mod refused;
mod store;
mod transports;
mod unpack;
