//! Lists of deliveries, calls and what is unrouted: filters, pages that stay, exports.
