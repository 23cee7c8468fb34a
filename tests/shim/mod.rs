//! dhow: docker's command line.

mod basic;
