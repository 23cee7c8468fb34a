//! dhow-image.
