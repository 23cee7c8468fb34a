//! dhow-image: references, archives and streams.

mod basic;
