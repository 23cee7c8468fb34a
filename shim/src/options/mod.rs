//! What was typed → what is meant.
