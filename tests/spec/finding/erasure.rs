//! A tenant's data is erased.
