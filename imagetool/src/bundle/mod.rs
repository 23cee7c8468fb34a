//! Bundles: an image config becomes a runtime config.
