//! Snapshots: unpacked layers by chain id.
