//! Delivered events that a hook keeps are sent again.
