//! Usage per tenant and day.
